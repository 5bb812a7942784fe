import assert from 'node:assert/strict'
import test from 'node:test'
import {showProbe} from '../../segkc_fastai/view/js/training_probe.js'

test('the newest record is shown, however long its pictures take, and each picture has a name', async () => {
  const [made, waiting] = [[], []]
  const node = () => ({style: {}, append() {}, insertRow: node, insertCell: node})
  globalThis.document = {createElement: node}
  globalThis.Image = class {
    constructor() {
      made.push(this)
    }
    decode() {
      return new Promise(done => waiting.push(done))
    }
  }
  const box = {replaceChildren: title => box.shown = title.textContent}
  const picture = {data: new Uint8Array(1), width: 1, height: 1}
  const probe = title => ({title, columns: ['senior'], legends: [], rows: [{name: 'x', images: [picture]}]})
  const both = ['epoch 1', 'epoch 2'].map(title => showProbe(box, probe(title)))
  waiting.reverse().forEach(done => done())
  await Promise.all(both)
  assert.deepEqual([box.shown, made[0].alt], ['epoch 2', 'senior of x'])
})
