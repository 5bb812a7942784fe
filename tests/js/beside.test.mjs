import assert from 'node:assert/strict'
import test from 'node:test'
import {beside} from '../../segkc_fastai/view/js/beside.js'

test('a comparison in a label panel says what it shows', () => {
  const said = (mode, truth) => {
    const fig = {classList: {toggle() {}}}
    const p = {kind: 'label', note: {textContent: ''}, fig}
    const ui = {quality: {}, matrix: {}, threshold: {say: {}}, opacity: {say: {}}, zoom: {}}
    const model = {get: name => ({zoom: [1]})[name] ?? 0}
    beside({mode, pair: 'a\nb', item: {truth}, panels: [p], byTitle: new Map(), ui, toggles: [], model}, 0, null)
    return p.note.textContent
  }
  assert.deepEqual([said('d', [1]), said('d')], ['(who is right)', '(where they differ)'])
  assert.equal(said('g', [1]), '(ground truth)')
})
