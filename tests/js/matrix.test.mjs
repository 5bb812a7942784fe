import assert from 'node:assert/strict'
import test from 'node:test'
import {cellAt, cellLine, cellText, classOrder, matrixWidth} from '../../segkc_fastai/view/js/matrix.js'

// Class 2 is disputed by 6 pixels, class 0 by 5, class 1 by 1; class 3 is nowhere
const COUNT = Uint32Array.from([
  9, 0, 5, 0,
  0, 9, 1, 0,
  0, 0, 0, 0,
  0, 0, 0, 0,
])

test('the most disputed classes first, or by number; absent ones not at all', () => {
  assert.deepEqual(classOrder(COUNT, 4, false), [2, 0, 1])
  assert.deepEqual(classOrder(COUNT, 4, true), [0, 1, 2])
})

test('a class on which both agree is there', () => {
  assert.deepEqual(classOrder(Uint32Array.from([0, 0, 0, 3]), 2, false), [1])
})

test('the width depends on the classes of the task alone', () => {
  assert.deepEqual([3, 8, 19, 150].map(matrixWidth), [200, 272, 412, 412])
})

test('the classes under a point', () => {
  const cross = {order: [2, 0, 1], side: 20}
  assert.deepEqual(cellAt(cross, 78 + 10, 78 + 30), [0, 2])
  assert.deepEqual(cellAt(cross, 78 + 59, 78 + 1), [2, 1])
  assert.equal(cellAt(cross, 70, 80), null)
  assert.equal(cellAt(cross, 78 + 60, 80), null)
})

test('what a cell says', () => {
  const cross = {a: {title: 'senior'}, b: {title: 'junior'}, count: COUNT}
  const v = {cross, K: 4, names: ['road', 'car', 'sky', 'sea']}
  const text = 'senior road × junior sky: 5 pixels, 20.83 % of the 24 that both keep'
  assert.equal(cellText(v, [0, 2]), text)
  const chosen = cell => cellLine({...v, model: {get: () => cell}})
  assert.equal(chosen(['senior', 'junior', 0, 2]), `outlined: ${text}; Esc clears`)
  assert.deepEqual([chosen(null), chosen(['weak', 'junior', 0, 2])], ['', ''])
})
