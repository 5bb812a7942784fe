import assert from 'node:assert/strict'
import test from 'node:test'
import {countValues} from '../../segkc_fastai/view/js/map_keys.js'
import {
  discOffsets, enclosed, extentOf, mixed, nearestPoint, pixelColour, placePoints, pointToward, splat,
} from '../../segkc_fastai/view/js/scatter.js'

const corners = Float32Array.from([0, 0, 1, 0, 0, 1, 1, 1])

test('points fill the picture up to its margin, upwards, with one unit for both directions', () => {
  const {xs, ys} = placePoints(corners, 128, 228, [1, .5, .5])
  assert.deepEqual([...xs], [14, 114, 14, 114])
  assert.deepEqual([...ys], [164, 164, 64, 64])
  assert.deepEqual([...placePoints(corners, 128, 228, [2, 1, 1]).xs], [-136, 64, -136, 64])
  const wide = Float32Array.from([0, .4, 1, .6])
  assert.deepEqual(extentOf(wide).map(v => v.toFixed(3)), ['1.000', '0.200'])
  assert.deepEqual([...placePoints(wide, 528, 128, [1, .5, .5], extentOf(wide)).xs].map(Math.round), [14, 514])
})

test('a disc is round, later points lie on top, nothing is painted outside', () => {
  const disc = discOffsets(1)
  assert.equal(disc.length, 10)
  const pixels = new Uint32Array(16)
  splat(pixels, 4, 4, {xs: [1, 2, 9], ys: [1, 1, 1]}, [0, 1, 2], [5, 7, 9], disc)
  assert.deepEqual([...pixels], [0, 5, 7, 0, 5, 7, 7, 7, 0, 5, 7, 0, 0, 0, 0, 0])
})

test('the nearest point within reach', () => {
  const places = placePoints(corners, 128, 128, [1, .5, .5])
  assert.equal(nearestPoint(places, 110, 20, 9), 3)
  assert.equal(nearestPoint(places, 60, 60, 9), -1)
  assert.equal(nearestPoint(places, 60, 62, Infinity), 2)
})

test('arrows lead to the nearest point in their direction, and stay where there is none', () => {
  const places = {xs: [0, 10, 3, -5], ys: [0, 1, 9, 0]}
  assert.equal(pointToward(places, 0, 1, 0), 1)
  assert.equal(pointToward(places, 0, 0, 1), 2)
  assert.equal(pointToward(places, 0, -1, 0), 3)
  assert.equal(pointToward(places, 0, 0, -1), 0)
})

test('a line encloses what is inside, also where it is hollow; two places enclose nothing', () => {
  const places = {xs: [1, 5, 9, 5], ys: [1, 5, 9, 20]}
  assert.deepEqual(enclosed(places, [0, 0, 10, 0, 10, 10, 0, 10]), [0, 1, 2])
  const horseshoe = [0, 0, 10, 0, 10, 3, 3, 3, 3, 7, 10, 7, 10, 10, 0, 10]
  assert.deepEqual(enclosed(places, horseshoe), [0, 2])
  assert.deepEqual(enclosed(places, [0, 0, 9, 9]), [])
})

test('colours as numbers of pixels, mixed with the page', () => {
  assert.equal(pixelColour([1, 2, 3]), 0xff030201)
  assert.deepEqual(mixed([100, 0, 200], [0, 100, 0], .25), [25, 75, 50])
})

test('images are counted by value', () => {
  const n = countValues([0, 2, 2, 255])
  assert.deepEqual([n[0], n[1], n[2], n[255]], [1, 0, 2, 1])
})
