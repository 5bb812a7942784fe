import assert from 'node:assert/strict'
import test from 'node:test'
import {
  applyTriples, boxOf, newEdit, newHistory, redo, remember, setRuns, undo,
} from '../../segkc_fastai/view/js/edits.js'

test('an edit tells what changed, forwards and backwards', () => {
  const label = Uint8Array.of(0, 1, 2, 2, 5)
  const edit = newEdit()
  assert.deepEqual(setRuns(label, [0, 4], 2, edit), [2, 0, 2])
  assert.deepEqual(setRuns(label, [3, 2], 2, edit), [2, 4, 1])
  assert.deepEqual([...label], [2, 2, 2, 2, 2])
  assert.deepEqual(edit, {forward: [2, 0, 2, 2, 4, 1], back: [0, 0, 1, 1, 1, 1, 5, 4, 1]})
  applyTriples(label, edit.back)
  assert.deepEqual([...label], [0, 1, 2, 2, 5])
})

test('a pixel that an edit changed twice gets its first class again, here and in other pages', () => {
  const label = Uint8Array.of(5, 5)
  const history = newHistory()
  const edit = newEdit()
  setRuns(label, [0, 1], 0, edit)
  setRuns(label, [0, 2], 1, edit)
  remember(history, edit)
  const sent = undo(history, label)
  assert.deepEqual([...label], [5, 5])
  const there = Uint8Array.of(1, 1)
  applyTriples(there, sent)
  assert.deepEqual([...there], [5, 5])
  redo(history, label)
  assert.deepEqual([...label], [1, 1])
})

test('undo and redo over a hundred strokes that overlap, against copies of the map', () => {
  const label = new Uint8Array(500)
  const history = newHistory()
  const copies = [label.slice()]
  let seed = 1
  const random = n => (seed = seed * 48271 % 2147483647) % n
  while (copies.length < 151) {
    const edit = newEdit()
    const to = random(5)
    for (let i = 0; i < 3; i++) setRuns(label, [random(400), 1 + random(99)], to, edit)
    remember(history, edit)
    if (edit.forward.length) copies.push(label.slice())
  }
  for (let i = 149; i >= 0; i--) {
    undo(history, label)
    assert.deepEqual(label, copies[i])
  }
  assert.equal(undo(history, label), null)
  for (let i = 1; i <= 150; i++) {
    redo(history, label)
    assert.deepEqual(label, copies[i])
  }
  assert.equal(redo(history, label), null)
})

test('an edit after an undo drops what could be repeated; one that changes nothing is not kept', () => {
  const label = new Uint8Array(9)
  const history = newHistory()
  const paint = (runs, to) => {
    const edit = newEdit()
    setRuns(label, runs, to, edit)
    remember(history, edit)
  }
  paint([0, 3], 1)
  paint([0, 3], 1)
  assert.equal(history.done.length, 1)
  undo(history, label)
  paint([5, 1], 2)
  assert.equal(redo(history, label), null)
  assert.equal(history.room, 6)
})

test('history is bounded', () => {
  const label = new Uint8Array(9)
  const history = newHistory()
  for (let i = 0; i < 2000; i++) {
    const edit = newEdit()
    setRuns(label, [i % 9, 1], 1 + i % 7, edit)
    remember(history, edit)
  }
  assert.ok(history.done.length >= 100 && history.done.length <= 300)
})

test('the box around triples', () => {
  assert.deepEqual(boxOf([1, 12, 3, 1, 25, 1], 10), [2, 1, 5, 2])
  assert.deepEqual(boxOf([1, 8, 4], 10), [0, 0, 9, 1])
})
