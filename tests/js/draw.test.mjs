import assert from 'node:assert/strict'
import test from 'node:test'
import {replacement} from '../../segkc_fastai/view/js/beside.js'
import {paint} from '../../segkc_fastai/view/js/draw.js'

test('g and d stay on over an image without ground truth or a second network, which shows its labels', () => {
  const p = {kind: 'label', label: Uint8Array.of(7), out: new Uint32Array(1)}
  const v = {item: {truth: null}, idx: [0], val: new Uint16Array(1), base: new Uint32Array(1), parts: new Map()}
  const table = {rb: new Uint32Array(8), g: new Uint32Array(8), rest: new Uint32Array(8)}
  for (const mode of ['g', 'd']) {
    v.val[0] = 0
    paint({...v, mode}, p, {label: table}, 0, false)
    assert.equal(v.val[0], 7)
  }
  const shown = (mode, more) => replacement({...v, mode, ...more})
  assert.deepEqual([shown('g', {item: {truth: [1]}}), shown('d', {pair: 'a\nb'})], ['truth', 'parts'])
})
