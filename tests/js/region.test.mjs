import assert from 'node:assert/strict'
import test from 'node:test'
import {borderPath} from '../../segkc_fastai/view/js/region.js'

const size = {w: 4, h: 3}

test('borders of a box are four lines', () => {
  assert.equal(borderPath([0, 5, 2, 0, 9, 2], size), 'M1 1H3M1 3H3M1 1V3M3 1V3')
})

test('a region that reaches the edge of the image has a border there', () => {
  assert.equal(borderPath([7, 0, 4], size), 'M0 0H4M0 1H4M0 0V1M4 0V1')
})

test('pixels that touch at a corner have borders of their own', () => {
  assert.equal(borderPath([1, 0, 1, 1, 5, 1], size), 'M0 0H1M0 1H2M1 2H2M0 0V1M1 0V2M2 1V2')
})
