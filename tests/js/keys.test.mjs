import assert from 'node:assert/strict'
import test from 'node:test'
import {recountLater} from '../../segkc_fastai/view/js/counted.js'
import {HELP, press} from '../../segkc_fastai/view/js/keys.js'
import {guarded} from '../../segkc_fastai/view/js/traits.js'

function fakeView(traits) {
  const sent = []
  const model = {get: k => traits[k], set: (k, x) => traits[k] = x, save_changes() {}, send: msg => sent.push(msg)}
  const line = {classList: {toggle() {}}}
  const el = {getRootNode: () => ({activeElement: {blur: () => sent.push('blur')}})}
  const ui = {line}
  const classes = {names: ['road', 'car', 'sky'], K: 3, look: {ignore: 255}}
  return {model, sent, ...classes, item: {w: 40, h: 20}, panels: [], ui, el}
}

test('keys change traits, ask the kernel, or are not ours', () => {
  const v = fakeView({threshold: .98, classes: [true, true, true]})
  assert.ok(press(v, ']'))
  assert.equal(v.model.get('threshold'), 1)
  assert.ok(press(v, 'ArrowLeft'))
  assert.deepEqual(v.sent, [{key: 'ArrowLeft'}])
  assert.ok(!press(v, 'b') && !press(v, 'toString'))
})

test('c shows the classes that are there now one after the other, and then all', () => {
  const v = fakeView({classes: [true, true, true]})
  const label = Uint8Array.of(0, 2, 255)
  v.panels = [{kind: 'label', label}]
  const shown = n => [...Array(n)].map(() => press(v, 'c') && v.model.get('classes').map(Number).join(''))
  assert.deepEqual(shown(3), ['100', '001', '111'])
  label[0] = 1
  recountLater(label)
  assert.deepEqual(shown(3), ['010', '001', '111'])
})

test('d compares labels as they are now', () => {
  const v = fakeView({})
  const [a, b] = [Uint8Array.of(0, 1), Uint8Array.of(0, 2)]
  v.panels = [{kind: 'label', title: 'a', label: a}, {kind: 'label', title: 'b', label: b}]
  v.byTitle = new Map(v.panels.map(p => [p.title, p]))
  const compared = () => press(v, 'd') && v.mode && [...v.parts.get(v.pair).parts]
  const before = compared()
  a[1] = 2
  recountLater(a)
  assert.equal(compared(), '')
  assert.deepEqual([before[0] === before[1], compared().every(part => part === before[0])], [false, true])
})

test('Escape clears the cell first, then the zoom, then leaves', () => {
  const v = fakeView({cell: ['a', 'b', 0, 1], zoom: [2, .5, .5]})
  Object.assign(v, {W: 40, H: 20, geo: {s: 2, ox: 10, oy: 5}})
  press(v, 'Escape')
  assert.deepEqual([v.model.get('cell'), v.model.get('zoom')], [null, [2, .5, .5]])
  press(v, 'Escape')
  assert.deepEqual([v.model.get('zoom'), v.sent], [[1, .5, .5], []])
  press(v, 'Escape')
  assert.deepEqual(v.sent, ['blur'])
})

test('the table has every key', () => {
  const keys = HELP.map(row => row[0]).join()
  for (const key of ['1–9', 'space', 'm', 'c', 'g', 'd', '[ ]', 'o', 'r', 'f', 'Shift', 'Esc', '?']) {
    assert.ok(keys.includes(key), key)
  }
})

test('errors are shown, also those of promises', async () => {
  const v = fakeView({})
  const quiet = console.error
  console.error = () => {}
  guarded(v, () => v.nothing.there)()
  assert.match(v.ui.line.textContent, /^error: /)
  assert.equal(v.ui.line.ariaLive, 'assertive')
  v.ui.line.textContent = ''
  await guarded(v, async () => v.nothing.there)().catch(() => {})
  assert.match(v.ui.line.textContent, /^error: /)
  console.error = quiet
})
