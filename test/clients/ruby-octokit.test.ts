import { expect, test } from 'vitest'
import { runProgram } from '../support/client-program.ts'
import { startServer } from '../support/start-server.ts'
import { wireRunner } from '../support/wire-runner.ts'

/*
 * Ruby octokit 4.20 (Debian `ruby-octokit`): workflows, runs and hooks by its methods; runners, groups, labels and tokens by `get` and `post`,
 * with paths that do not begin with a slash, since it drops `/api/v3` from those that do.
 */

const SCRIPT = `
require 'json'
require 'octokit'
given = JSON.parse(STDIN.read)
client = Octokit::Client.new(api_endpoint: given['url'] + '/api/v3/', access_token: given['token'], auto_paginate: true, per_page: 1)
told = {}
told[:login] = client.user.login
repo = client.repository('acme/rocket')
told[:repository] = [repo.full_name, repo.default_branch, repo.permissions.admin]
told[:readme] = client.contents('acme/rocket', path: 'README.md', accept: 'application/vnd.github.raw')

runners = 'orgs/acme/actions/runners'
told[:registration] = client.post("#{runners}/registration-token").token
told[:remove] = client.post('repos/acme/rocket/actions/runners/remove-token').to_h.keys
jit = client.post("#{runners}/generate-jitconfig", name: 'jit', runner_group_id: 1, labels: ['gpu']).runner
told[:labels] = client.post("#{runners}/#{jit.id}/labels", labels: ['metal']).labels.map(&:name) & %w[gpu metal]
told[:removed_label] = client.delete("#{runners}/#{jit.id}/labels/metal")
group = client.post('orgs/acme/actions/runner-groups', name: 'Metal', visibility: 'selected', selected_repository_ids: [repo.id])
told[:moved] = client.put("orgs/acme/actions/runner-groups/#{group.id}/runners/#{jit.id}")
told[:members] = group.rels[:runners].get.data.runners.map(&:name)
told[:renamed] = client.patch("orgs/acme/actions/runner-groups/#{group.id}", name: 'Bare').name
first = client.get(runners, per_page: 1, page: 1)
told[:page] = [first.total_count, first.runners.map(&:name)]
told[:next] = client.last_response.rels[:next].get.data.runners.map(&:name)
told[:downloads] = client.get("#{runners}/downloads").map(&:os).uniq.sort
begin
  client.post("#{runners}/generate-jitconfig", name: 'jit', runner_group_id: 1, labels: ['gpu'])
rescue Octokit::Conflict => e
  told[:conflict] = e.response_status
end
told[:deleted] = client.delete("#{runners}/#{jit.id}")
begin
  client.get("#{runners}/#{jit.id}")
rescue Octokit::NotFound => e
  told[:missing] = e.message[/404 - Not Found/]
end

told[:workflows] = client.workflows('acme/rocket').workflows.map { |w| [w.name, w.state] }
told[:dispatched] = client.workflow_dispatch('acme/rocket', 'ci.yml', 'main', inputs: { who: 'mona' })
run = client.workflow_runs('acme/rocket', 'ci.yml').workflow_runs.first
told[:run] = [run.event, run.status, client.workflow_run('acme/rocket', run.id).head_branch]
told[:jobs] = run.rels[:jobs].get.data.jobs.map { |j| [j.name, j.status, j.labels] }
told[:cancelled] = client.cancel_workflow_run('acme/rocket', run.id)
hook = client.create_hook('acme/rocket', 'web', { url: 'http://127.0.0.1:1/x', content_type: 'json' }, events: ['workflow_job'], active: true)
told[:hooks] = client.hooks('acme/rocket').map(&:events)
told[:removed_hook] = client.remove_hook('acme/rocket', hook.id)
told[:limit] = client.rate_limit.remaining > 0
STDOUT.write(JSON.generate(told))
`

const WORKFLOW = `name: CI
on:
  workflow_dispatch:
    inputs:
      who: { default: world }
jobs:
  build:
    runs-on: nobody-has-this
    steps:
      - run: 'true'
`

test('Ruby octokit manages runners, groups and labels, and drives workflows, runs and hooks', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  await server.push(server.adminToken, repository, { 'README.md': 'hello', '.github/workflows/ci.yml': WORKFLOW })
  await wireRunner(server, 'acme', { name: 'one' })

  const input = JSON.stringify({ url: server.url, token: server.adminToken })
  const { code, stdout, stderr } = await runProgram('ruby', ['-W0', '-e', SCRIPT], { input })

  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toEqual({
    login: 'admin',
    repository: ['acme/rocket', 'main', true],
    readme: 'hello',
    registration: expect.stringMatching(/^A[A-Z2-7]{28}$/) as string,
    remove: ['token', 'expires_at'],
    labels: ['gpu', 'metal'],
    removed_label: expect.anything() as unknown,
    moved: '',
    members: ['jit'],
    renamed: 'Bare',
    page: [2, ['jit']],
    next: ['one'],
    downloads: ['linux', 'osx', 'win'],
    conflict: 409,
    deleted: '',
    missing: '404 - Not Found',
    workflows: [['CI', 'active']],
    dispatched: true,
    run: ['workflow_dispatch', 'queued', 'main'],
    jobs: [['build', 'queued', ['nobody-has-this']]],
    cancelled: true,
    hooks: [['workflow_job']],
    removed_hook: true,
    limit: true,
  })
})
