import assert from 'node:assert/strict'
import test from 'node:test'
import {
  byteThreshold, cellHits, crossCount, fiveParts, histograms, partCounts,
} from '../../segkc_fastai/view/js/counts.js'

const IGNORE = 255

test('thresholds are rounded as confidences are', () => {
  assert.deepEqual([0, .3, .65, 1].map(byteThreshold), [0, 77, 166, 255])
})

test('five parts by who is right', () => {
  const a = {label: [1, 1, 2, 2, 2, 1]}
  const b = {label: [1, 2, 1, 3, 2, 1]}
  const truth = [1, 1, 1, 1, 1, IGNORE]
  const found = fiveParts(a, b, truth, IGNORE)
  assert.deepEqual([...found.parts], [0, 1, 2, 3, 4, IGNORE])
  assert.deepEqual(partCounts(found, 0), [1, 1, 1, 1, 1, 5])
})

test('only pixels that both keep are judged', () => {
  const a = {label: [1, 1, 2], confidence: [200, 100, 255]}
  const b = {label: [1, 2, 2], confidence: [100, 200, 255]}
  const found = fiveParts(a, b, [1, 1, 1], IGNORE)
  assert.deepEqual(partCounts(found, 100), [1, 1, 0, 0, 1, 3])
  assert.deepEqual(partCounts(found, 101), [0, 0, 0, 0, 1, 1])
})

test('without truth, disagreement by the lower confidence', () => {
  const a = {label: [1, 1, 1, 1], confidence: [9, 0, 255, 200]}
  const b = {label: [1, 2, 2, 2], confidence: [9, 255, 255, 100]}
  const found = fiveParts(a, b, null, IGNORE)
  assert.deepEqual([...found.parts], [0, 1, 254, 1 + Math.round(100 * 253 / 255)])
  assert.deepEqual(partCounts(found, 0), [1, 3, 4])
  assert.deepEqual(partCounts(found, 101), [0, 1, 1])
  assert.deepEqual([...fiveParts({label: [1]}, {label: [2]}, null, IGNORE).parts], [254])
})

test('histograms look up what a threshold keeps, and how much of it is right', () => {
  const panel = {label: [0, 0, 1, 1, 7], confidence: [255, 100, 100, 50, 255]}
  const {kept, known, right, real, n} = histograms(panel, [0, 1, 1, IGNORE, 0], 2)
  const at = (h, k, c) => h[k * 257 + c]
  assert.equal(n, 4, 'one has no class')
  assert.deepEqual([at(kept, 0, 0), at(kept, 0, 101), at(kept, 1, 60), at(kept, 1, 101)], [2, 1, 1, 0])
  assert.deepEqual([at(kept, 2, 0), at(kept, 2, 100), at(kept, 2, 256)], [4, 3, 0])
  assert.deepEqual([at(known, 1, 0), at(right, 0, 0), at(right, 1, 0), at(right, 2, 101)], [1, 1, 1, 1])
  assert.deepEqual([...real], [2, 2, 4])
})

test('a true class that the task lacks is not counted', () => {
  assert.deepEqual([2, 3, IGNORE].map(k => histograms({label: [0, 0]}, [0, k], 2).real[2]), [1, 1, 1])
})

test('the same without confidence: everything is kept', () => {
  const {kept, real} = histograms({label: [0, 1]}, null, 2)
  assert.deepEqual([kept[255], kept[257 + 255], kept[2 * 257], real[2]], [1, 1, 2, 0])
})

test('classes are crossed where both keep', () => {
  const a = {label: [0, 0, 1, IGNORE], confidence: [200, 100, 200, 255]}
  const b = {label: [1, 1, 1, 0]}
  const into = new Uint32Array([9, 9, 9, 9])
  assert.deepEqual([...crossCount(a, b, 0, 2, into)], [0, 2, 0, 1])
  assert.deepEqual([...crossCount(a, b, 150, 2, into)], [0, 1, 0, 1])
})

test('pixels of a cell, of those that are visible', () => {
  const a = {label: [0, 0, 1], confidence: [200, 100, 200]}
  const b = {label: [1, 1, 1]}
  const hit = new Uint8Array(4)
  cellHits(a, b, [0, 1], 150, [2, 1, 0, 0], hit)
  assert.deepEqual([...hit], [0, 0, 1, 1])
})
