import assert from 'node:assert/strict'
import test from 'node:test'
import {spriteStyle} from '../../segkc_fastai/view/js/navigator.js'
import {percent, short, thousands} from '../../segkc_fastai/view/js/text.js'

test('percent', () => {
  assert.deepEqual([percent(1, 3), percent(1, 3, 2), percent(0, 5), percent(0, 0)], ['33.3 %', '33.33 %', '0.0 %', '–'])
})

test('short names end in an ellipsis', () => {
  assert.deepEqual([short('road', 4), short('pavement', 4)], ['road', 'pav…'])
})

test('thousands', () => assert.equal(thousands(1234567), '1,234,567'))

test('the part of the picture of thumbnails', () => {
  const {backgroundPosition, width} = spriteStyle([72, 48, 20], 'blob:1', 21)
  assert.deepEqual([backgroundPosition, width], ['-72px -48px', '72px'])
})
