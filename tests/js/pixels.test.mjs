import assert from 'node:assert/strict'
import test from 'node:test'
import {colours, css, grey, pack} from '../../segkc_fastai/view/js/pixels.js'

test('a packed colour is what a canvas holds', () => {
  const bytes = new Uint8Array(new Uint32Array([pack(1, 2, 3)]).buffer)
  assert.deepEqual([...bytes], [1, 2, 3, 255])
  assert.equal(css(pack(230, 159, 0)), 'rgb(230,159,0)')
})

test('colours of bytes, also of those that a view is given', () => {
  const bytes = new Uint8Array([9, 1, 2, 3, 4, 5, 6])
  const view = new DataView(bytes.buffer, 1)
  assert.deepEqual([...colours(view)], [pack(1, 2, 3), pack(4, 5, 6)])
})

test('grey weighs green most, and keeps black and white', () => {
  const base = new Uint32Array([pack(0, 0, 0), pack(255, 255, 255), pack(255, 0, 0), pack(0, 255, 0)])
  assert.deepEqual([...grey(base)].map(c => c & 255), [0, 255, 76, 150])
})
