import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { DiskBlobStore } from './disk-blob-store.ts'

test('an object that is removed while it is read is read to its end', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-blobs-'))
  const blobs = new DiskBlobStore(folder)
  try {
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      await blobs.put(`x/${name}`, Buffer.from(name))
      const stream = await blobs.get(`x/${name}`)
      rmSync(path.join(folder, 'x', name))
      expect(stream && (await text(stream))).toBe(name)
      expect(await blobs.get(`x/${name}`)).toBe(undefined)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
