import { expect, test } from 'vitest'
import { runProgram } from '../support/client-program.ts'
import { startServer } from '../support/start-server.ts'
import { wireRunner } from '../support/wire-runner.ts'

/*
 * PyGithub 1.55 (Debian `python3-github`), which has runners, workflows, runs and hooks; what it lacks (groups, labels, tokens, organizations'
 * runners) is asked with its own requester, as its users do.
 */

const SCRIPT = `
import json, sys
from github import Github, GithubException, UnknownObjectException

given = json.load(sys.stdin)
g = Github(base_url=given["url"] + "/api/v3", login_or_token=given["token"], per_page=1, retry=None)
ask = lambda verb, path, body=None: g._Github__requester.requestJsonAndCheck(verb, path, input=body)[1]
told = {}

told["login"] = g.get_user().login
repo = g.get_repo("acme/rocket")
told["default branch"] = repo.default_branch
told["readme"] = repo.get_contents("README.md").decoded_content.decode()
told["runners"] = [(r.name, r.os, r.status, r.busy, [l["name"] for l in r.labels()]) for r in repo.get_self_hosted_runners()]
first = next(iter(repo.get_self_hosted_runners()))
told["same"] = repo.get_self_hosted_runner(first.id).name == first.name
told["removed"] = repo.remove_self_hosted_runner(first)
told["left"] = repo.get_self_hosted_runners().totalCount
try:
    repo.get_self_hosted_runner(first.id)
except UnknownObjectException as e:
    told["missing"] = [e.status, e.data["message"]]

org = g.get_organization("acme")
told["org"] = [org.login, [r.full_name for r in org.get_repos()]]
told["registration"] = ask("POST", org.url + "/actions/runners/registration-token")["token"]
told["remove token"] = sorted(ask("POST", repo.url + "/actions/runners/remove-token"))
jit = ask("POST", org.url + "/actions/runners/generate-jitconfig", {"name": "jit", "runner_group_id": 1, "labels": ["gpu"]})["runner"]
runner = org.url + "/actions/runners/%d" % jit["id"]
told["labels"] = [l["name"] for l in ask("POST", runner + "/labels", {"labels": ["metal"]})["labels"] if l["type"] == "custom"]
told["labels after"] = [l["name"] for l in ask("DELETE", runner + "/labels/metal")["labels"] if l["type"] == "custom"]
group = ask("POST", org.url + "/actions/runner-groups", {"name": "Metal", "visibility": "selected", "selected_repository_ids": [repo.id]})
ask("PUT", group["runners_url"] + "/%d" % jit["id"])
told["group"] = [[r["name"] for r in ask("GET", group["runners_url"])["runners"]], [r["name"] for r in ask("GET", group["selected_repositories_url"])["repositories"]]]
try:
    ask("POST", org.url + "/actions/runner-groups", {"name": "Metal"})
except GithubException as e:
    told["conflict"] = e.status

told["workflows"] = [(w.name, w.path, w.state) for w in repo.get_workflows()]
workflow = repo.get_workflow("ci.yml")
told["dispatched"] = workflow.create_dispatch(repo.default_branch, {"who": "mona"})
told["events"] = [r.event for r in repo.get_workflow_runs()]
run = next(r for r in workflow.get_runs() if r.event == "workflow_dispatch")
told["run"] = [run.id == repo.get_workflow_run(run.id).id, run.status, run.head_branch, run.head_commit.message, run.repository.full_name]
told["cancelled"] = run.cancel()

hook = org.create_hook("web", {"url": "http://127.0.0.1:1/x", "content_type": "json"}, ["workflow_job"], True)
hook.ping()
hook.edit("web", {"url": "http://127.0.0.1:1/y"}, events=["push"])
told["hooks"] = [(h.name, h.events, h.config["url"]) for h in org.get_hooks()]
hook.delete()
limit = g.get_rate_limit().core
told["limit"] = limit.remaining > 0 and g.rate_limiting[1] > 0
json.dump(told, sys.stdout)
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

test('PyGithub lists, finds and removes runners, steers workflows and hooks, and pages as its users do', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  await server.push(server.adminToken, repository, { 'README.md': 'hello', '.github/workflows/ci.yml': WORKFLOW }, { message: 'first' })
  await wireRunner(server, 'acme/rocket', { name: 'one', labels: ['gpu'] })
  const two = await wireRunner(server, 'acme/rocket', { name: 'two' })
  await two.connect()

  const input = JSON.stringify({ url: server.url, token: server.adminToken })
  const { code, stdout, stderr } = await runProgram('/usr/bin/python3', ['-W', 'ignore', '-c', SCRIPT], { input })

  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toEqual({
    login: 'admin',
    'default branch': 'main',
    readme: 'hello',
    runners: [
      ['one', 'linux', 'offline', false, ['self-hosted', 'Linux', 'X64', 'gpu']],
      ['two', 'linux', 'online', false, ['self-hosted', 'Linux', 'X64']],
    ],
    same: true,
    removed: true,
    left: 1,
    missing: [404, 'Not Found'],
    org: ['acme', ['acme/rocket']],
    registration: expect.stringMatching(/^A[A-Z2-7]{28}$/) as string,
    'remove token': ['expires_at', 'token'],
    // Those of a JIT configuration are read-only.
    labels: ['metal'],
    'labels after': [],
    group: [['jit'], ['rocket']],
    conflict: 409,
    workflows: [['CI', '.github/workflows/ci.yml', 'active']],
    dispatched: true,
    events: ['workflow_dispatch'],
    run: [true, 'queued', 'main', 'first', 'acme/rocket'],
    cancelled: true,
    hooks: [['web', ['push'], 'http://127.0.0.1:1/y']],
    limit: true,
  })
})
