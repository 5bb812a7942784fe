import assert from 'node:assert/strict'
import test from 'node:test'
import {arrive, initialize} from '../../segkc_fastai/view/js/arrive.js'

test('maps are let go with their model', async () => {
  const [listeners, sent] = [{}, []]
  const traits = {_item: {w: 1, h: 1, image: null}, _panels: [{label: 'm1'}]}
  const model = {get: k => traits[k], on: (k, f) => listeners[k] = f, off() {}, send: msg => sent.push(msg)}
  const dispose = initialize({model})
  listeners['msg:custom']({hold: ['m1']}, [new Uint8Array(1)])
  dispose()
  await arrive({model, arriving: 0})
  assert.deepEqual(sent, [{want: ['m1']}])
})

test('each map that a page lacks is asked for once, and again when it was dropped', async () => {
  const [hear, wanted] = [[], []]
  const names = ['m2', 'm3', 'm4', 'm5']
  const traits = {_item: {w: 1, h: 1, image: null}, _panels: names.map(label => ({label}))}
  const model = {get: k => traits[k], on: (_, f) => hear.push(f), off() {}, send: ({want}) => wanted.push(...want)}
  const v = {model, arriving: 0}
  const say = msg => hear.forEach(f => f(msg, [new Uint8Array(1)]))
  initialize({model})
  await arrive(v)
  for (const name of names.slice(1)) {
    say({hold: [name]})
    await arrive(v)
  }
  assert.deepEqual(wanted.splice(0), names)
  say({drop: ['m2', 'm3']})
  await arrive(v)
  await arrive(v)
  assert.deepEqual([wanted, v.lacks], [['m2', 'm3'], true])
})

test('another image lets go of what was read under the pointer', async () => {
  const empty = {_item: {w: 1, h: 1}, _panels: [], _palettes: [new Uint8Array(0)], safe: false, classes: [], matrix: []}
  const traits = {...empty, hover: {x: 100, y: 90, senior: 'road'}}
  const model = {get: k => traits[k], set: (k, x) => traits[k] = x, save_changes() {}}
  const ui = {body: {clientWidth: 0}, classes: [], name: {}, line: {classList: {toggle() {}}}}
  const v = {model, ui, arriving: 0, panels: [], shape: '', K: 0, look: {ignore: 255}, el: {dataset: {}}}
  v.resting = setTimeout(() => traits.hover = 'late', 1)
  await arrive(v)
  await new Promise(done => setTimeout(done, 5))
  assert.deepEqual(traits.hover, {})
})
