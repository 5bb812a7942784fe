import assert from 'node:assert/strict'
import test from 'node:test'
import {initialize, lookUp} from '../../segkc_fastai/view/js/arrive.js'
import {applyTriples, newEdit, remember, setRuns, undo} from '../../segkc_fastai/view/js/edits.js'

globalThis.requestIdleCallback = () => {} // classes are counted again while a browser is idle
globalThis.window = Object.assign(globalThis, {addEventListener() {}, removeEventListener() {}})

const open = new Uint8Array(8).fill(255)

async function page(name) {
  const script = await import(`../../segkc_fastai/view/js/shared_mask.js?${name}`)
  const mask = script.maskOf({}, {draft: 'k', w: 8}, open.slice())
  const heard = []
  script.hearEdits({on: (_, f) => heard.push(f), off() {}})
  const send = triples => {
    mask.sent.push(triples)
    return {edit: script.PAGE, of: 'k', triples}
  }
  const paint = (start, n, to) => {
    const edit = newEdit()
    const msg = send(setRuns(mask.label, [start, n], to, edit))
    remember(mask.history, edit)
    return msg
  }
  const hear = ({triples, ...msg}) => heard[0](msg, [new DataView(Int32Array.from(triples).buffer)])
  return {mask, paint, hear, undo: () => send(undo(mask.history, mask.label))}
}

test('two pages that paint the same pixels at once end with the mask of the kernel', async () => {
  const [a, b] = await Promise.all([page('a'), page('b')])
  const kernel = open.slice()
  const deliver = msg => {
    applyTriples(kernel, msg.triples)
    for (const o of [a, b]) o.hear(msg)
  }
  const [first, second] = [a.paint(0, 4, 1), b.paint(2, 4, 2)]
  const third = b.undo()
  deliver(first)
  const fourth = a.paint(1, 2, 3)
  for (const msg of [second, fourth, third]) deliver(msg)
  assert.deepEqual([...kernel], [1, 3, 255, 255, 255, 255, 255, 255])
  for (const o of [a, b]) assert.deepEqual(o.mask.label, kernel)
  assert.equal(a.mask.sent.length + b.mask.sent.length, 0)
})

test('an edit that the kernel refused is taken back, and later ones stay', async () => {
  const {mask, paint, hear} = await page('c')
  const refused = paint(0, 4, 1)
  const later = paint(3, 1, 2)
  hear({...refused, refused: true, triples: [255, 0, 8]})
  assert.deepEqual([...mask.label], [255, 255, 255, 2, 255, 255, 255, 255])
  hear(later)
  assert.deepEqual([...mask.label], [255, 255, 255, 2, 255, 255, 255, 255])
})

test('an edit of a mask that no view has yet is in the map that it starts with', async () => {
  const [traits, heard] = [{_item: {w: 8, h: 1, draft: 'n'}, _panels: [{kind: 'label', label: 'mn'}]}, []]
  const model = {get: k => traits[k], on: (_, f) => heard.push(f), off() {}, send() {}}
  const say = (msg, bytes) => heard.forEach(f => f(msg, [bytes]))
  initialize({model})
  const {hearEdits} = await import('../../segkc_fastai/view/js/shared_mask.js?e')
  hearEdits(model)
  say({edit: 'kernel', of: 'n'}, Int32Array.of(1, 0, 2))
  say({hold: ['mn']}, open.slice())
  say({edit: 'kernel', of: 'n'}, Int32Array.of(1, 0, 4))
  assert.deepEqual([...lookUp('mn')], [1, 1, 1, 1, 255, 255, 255, 255])
})

test('a comparison of the mask with a proposal follows the edits', async () => {
  const {mask, paint} = await page('d')
  const labels = {mask: mask.label, junior: new Uint8Array(8)}
  const panels = Object.entries(labels).map(([title, label]) => ({kind: 'label', title, label}))
  const v = {mode: 'd', panels, byTitle: new Map(panels.map(p => [p.title, p])), item: {}, look: {ignore: 255}}
  mask.views.add({v})
  const {spread} = await import('../../segkc_fastai/view/js/shared_mask.js?d')
  spread(mask, paint(0, 3, 0).triples)
  await new Promise(f => setTimeout(f, 200))
  assert.deepEqual([...v.parts.get('mask\njunior').parts].map(Boolean), [false, false, false, ...Array(5).fill(true)])
})
