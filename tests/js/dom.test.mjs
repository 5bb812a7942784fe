import assert from 'node:assert/strict'
import test from 'node:test'
import {commanding, put, u8} from '../../segkc_fastai/view/js/dom.js'

test('u8 sees the bytes of a view, and of nothing nothing', () => {
  const bytes = new Uint8Array([1, 2, 3, 4])
  assert.deepEqual(u8(new DataView(bytes.buffer, 1, 2)), new Uint8Array([2, 3]))
  assert.equal(u8(null), null)
})

test('put writes a text only where it is another', () => {
  const written = []
  const e = {get textContent() { return 'a' }, set textContent(text) { written.push(text) }}
  put(e, 'a')
  put(e, 'b')
  assert.deepEqual(written, ['b'])
})

test('commands of the page are keys with Ctrl, Alt or Meta', () => {
  assert.ok(commanding({ctrlKey: true}))
  assert.ok(!commanding({shiftKey: true}))
})
