import assert from 'node:assert/strict'
import test from 'node:test'
import {commanding, followPointer, keyOf, put, u8} from '../../segkc_fastai/view/js/dom.js'

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
  assert.ok(['Z', '['].every(key => commanding({key, ctrlKey: true})) && commanding({key: ']', metaKey: true}))
  assert.ok(commanding({key: 'z', altKey: true}))
})

test('brackets that some keyboards have with AltGr or Option are typed', () => {
  for (const key of ['[', ']']) {
    assert.ok(!commanding({key, ctrlKey: true, altKey: true}))
    assert.ok(!commanding({key, altKey: true}))
    assert.ok(commanding({key, altKey: true, metaKey: true}))
  }
})

test('a letter is a capital with Shift, whatever Caps Lock says', () => {
  const keys = [['Z', false], ['z', true], ['b', false], ['?', true], ['Enter', true], ['ArrowLeft', false]]
  const found = keys.map(([key, shiftKey]) => keyOf({key, shiftKey}))
  assert.deepEqual(found, ['z', 'Z', 'b', '?', 'Enter', 'ArrowLeft'])
})

test('one pointer is followed until it is released or cancelled anywhere, or moves without a button', () => {
  globalThis.window = new EventTarget()
  const [e, seen] = [new EventTarget(), []]
  const noting = name => ev => seen.push(`${name} ${ev.pointerId}`)
  const stop = followPointer(e, {down: noting('down'), move: noting('move'), up: noting('up')})
  const send = (on, type, pointerId, buttons = 1) => {
    on.dispatchEvent(Object.assign(new Event(type), {pointerId, buttons}))
    return seen.splice(0).join()
  }
  const fire = (type, id, buttons) => send(/down|move/.test(type) ? e : window, `pointer${type}`, id, buttons)
  assert.deepEqual(['down', 'move', 'up'].map(type => fire(type, 1)), ['down 1', 'move 1', 'up 1'])
  assert.deepEqual([fire('up', 1), fire('move', 2, 0)], ['', 'move 2'])
  fire('down', 1)
  assert.deepEqual(['down', 'move', 'up'].map(type => fire(type, 2)), ['', '', ''])
  assert.deepEqual([fire('cancel', 1), fire('down', 2)], ['up 1', 'down 2'])
  assert.equal(fire('move', 2, 0), 'up 2,move 2')
  fire('down', 3)
  stop()
  assert.equal(fire('up', 3), '')
})
