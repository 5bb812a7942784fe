import assert from 'node:assert/strict'
import test from 'node:test'
import {comparedPairs, countsOf, histogramsOf, partsOf, recountLater} from '../../segkc_fastai/view/js/counted.js'

const label = (title, ...pixels) => ({title, kind: 'label', label: Uint8Array.from(pixels), confidence: null})
const [a, b] = [label('a', 0, 1, 1), label('b', 0, 1, 0)]

test('pairs of disagreement panels are compared, or else the first two label panels', () => {
  const who = {title: 'who', kind: 'disagreement', of: ['b', 'a']}
  assert.deepEqual(comparedPairs([a, b, who]), [['b', 'a']])
  assert.deepEqual(comparedPairs([a, {kind: 'image'}, b, label('c')]), [['a', 'b']])
  assert.deepEqual(comparedPairs([a]), [])
})

test('counts made ahead are those of the view', () => {
  for (const count of countsOf([a, b], null, 2, 255)) count()
  const [parts, counted] = [partsOf(a, b, null, 255), histogramsOf(a, null, 2)]
  assert.deepEqual([...parts.parts], [0, 0, 254])
  assert.equal(partsOf({...a}, {...b}, null, 255), parts)
  assert.equal(histogramsOf(a, null, 2), counted)
  assert.notEqual(histogramsOf(a, b.label, 2), counted, 'with a ground truth')
  assert.deepEqual(countsOf([a, {...b, label: undefined}], null, 2, 255), [])
})

test('a map that changed is counted again', () => {
  const before = histogramsOf(a, null, 2)
  recountLater(a.label)
  assert.notEqual(histogramsOf(a, null, 2), before)
})
