import assert from 'node:assert/strict'
import test from 'node:test'
import {blend, labelTable, outline, partsTable, rampTable} from '../../segkc_fastai/view/js/blend.js'
import {pack} from '../../segkc_fastai/view/js/pixels.js'

const RED = pack(255, 0, 0)
const BASE = pack(100, 120, 140)

function mixed(value, mix) {
  const out = new Uint32Array(1)
  blend(out, [BASE], [value], mix)
  return out[0]
}

test('opacity 0 is the image, opacity 1 the colour, between them a mixture', () => {
  const of = opacity => labelTable([RED], [1], opacity, .12)
  assert.equal(mixed(0, of(0)), BASE)
  assert.equal(mixed(0, of(1)), RED)
  assert.equal(mixed(0, of(.5)), pack(177, 60, 70))
})

test('what is not kept fades, what is not shown vanishes', () => {
  assert.equal(mixed(256, labelTable([RED], [1], 1, .25)), pack(138, 90, 105))
  assert.equal(mixed(0, labelTable([RED], [0], 1, .25)), BASE)
  assert.equal(mixed(256, labelTable([RED], [0], 1, .25)), BASE)
})

test('parts that are not kept fade, and lines of a pattern have their own colour', () => {
  const colours = new Uint32Array(512)
  colours.set([RED])
  colours.set([BASE], 256)
  const mix = partsTable({colours, weights: [1]}, 1, 1, .25)
  assert.equal(mixed(256, mix), pack(138, 90, 105))
  assert.deepEqual([mixed(0, mix), mixed(512, mix)], [RED, BASE])
})

test('parts are louder than labels, at most covering', () => {
  const look = {colours: [RED], weights: [1]}
  assert.equal(mixed(0, partsTable(look, .25, 2)), mixed(0, labelTable([RED], [1], .5, 0)))
  assert.equal(mixed(0, partsTable(look, .9, 2)), RED)
})

test('a ramp covers the image', () => {
  assert.equal(mixed(1, rampTable([BASE, RED])), RED)
})

test('an outline is white inside the border, and the edge of the picture is none', () => {
  const bright = pack(80, 80, 80)
  const out = new Uint32Array(12).fill(bright)
  const hit = Uint8Array.from([1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
  outline(out, hit, 4)
  const row = [bright, pack(255, 255, 255), pack(20, 20, 20), pack(20, 20, 20)]
  assert.deepEqual([...out], [...row, ...row, ...row])
})
