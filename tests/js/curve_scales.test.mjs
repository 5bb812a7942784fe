import assert from 'node:assert/strict'
import test from 'node:test'
import {
  bandOutline, epochRange, epochTicks, linePath, lonely, panelScales, roundTicks, runningValues, shortNumber,
  spreadLabels, tickTexts, valueRange, withUnit,
} from '../../segkc_fastai/view/js/curve_scales.js'

const flat = {x: v => v, y: v => v}

test('numbers keep three digits, small and large ones their power of ten', () => {
  const numbers = [0, 1, .123456, 1234.5, .001, -.00123, 10000, 2.5e7]
  assert.deepEqual(numbers.map(shortNumber), ['0', '1', '0.123', '1230', '1e-3', '-1.2e-3', '1e4', '2.5e7'])
})

test('ticks are round, within the range, and whole for epochs', () => {
  assert.deepEqual(roundTicks(0, 1, 5), [0, .2, .4, .6, .8, 1])
  assert.deepEqual(roundTicks(.13, .71, 5), [.2, .4, .6])
  assert.deepEqual(roundTicks(0, 3, 4, true), [0, 1, 2, 3])
  assert.deepEqual(roundTicks(0, 300, 4, true), [0, 100, 200, 300])
})

test('a percentage has its unit', () => {
  assert.deepEqual([withUnit(31.23, 100), withUnit(.5, 1)], ['31.2 %', '0.5'])
})

test('ticks have the digits that tell them apart', () => {
  assert.deepEqual(tickTexts([99.98, 99.985, 99.99]), ['99.980', '99.985', '99.990'])
  assert.deepEqual(tickTexts([0, 20, 40]), ['0', '20', '40'])
  assert.deepEqual(tickTexts([0, 5e-4, 1e-3]), ['0', '5e-4', '1.0e-3'])
})

test('epochs begin with the first that is drawn, and a single one stands in the middle', () => {
  assert.deepEqual(epochRange({x: [1, 2], total: 5}, {}), [1, 5])
  assert.deepEqual(epochRange({x: [1], total: 1}, {}), [.5, 1.5])
  assert.deepEqual(epochRange({x: [], total: 3}, {x: [.25, .5]}), [.25, 3])
  assert.deepEqual(epochRange({x: [], total: 3}, {}), [0, 3])
})

test('ticks of epochs have room, whatever their number', () => {
  for (const last of [1, 2, 7, 30, 300, 12345]) {
    const found = epochTicks(epochRange({x: [1], total: last}, {}), 72)
    const width = 6 * String(last).length
    assert.ok(found.length >= 1 && new Set(found).size === found.length, `${last}: ${found}`)
    const gap = Math.min(...found.slice(1).map((t, i) => (t - found[i]) / (last - 1) * 72))
    assert.ok(gap > width, `${last}: ${found}`)
  }
})

test('a value without neighbours is found', () => {
  assert.deepEqual(lonely([1, null, 2, 3, null, 4]), [0, 5])
  assert.deepEqual(lonely([null, null]), [])
})

test('ticks of any range are few, in order and inside', () => {
  for (let k = 0; k < 500; k++) {
    const lo = (Math.random() - .5) * 10 ** (k % 9 - 4)
    const hi = lo + Math.random() * 10 ** (k % 7 - 3) + 1e-6
    const found = roundTicks(lo, hi, 5)
    const slack = 1e-6 * (hi - lo) + 1e-9 * Math.abs(lo)
    assert.ok(found.length <= 7 && found.every(t => t >= lo - slack && t <= hi + slack), `${lo} ${hi} ${found}`)
    assert.ok(found.every((t, i) => !i || t > found[i - 1]))
    assert.equal(new Set(tickTexts(found)).size, found.length, `${found} ${tickTexts(found)}`)
  }
})

test('labels stay in order, a gap apart, none below the bottom, and the input stays as it is', () => {
  const labels = [{y: 50, text: 'b'}, {y: 49, text: 'a'}, {y: 120, text: 'c'}, {y: 119, text: 'd'}]
  const placed = spreadLabels(labels, 11, 124)
  assert.deepEqual(placed.map(o => [o.text, o.to]), [['a', 49], ['b', 60], ['d', 113], ['c', 124]])
  assert.deepEqual(labels.map(o => o.to), [undefined, undefined, undefined, undefined])
  assert.deepEqual(spreadLabels([], 11, 124), [])
})

test('what runs is scaled as its series, and missing values stay missing', () => {
  const series = {key: 'kept', scale: 100}
  assert.deepEqual(runningValues(series, {y: {kept: [.5, null]}}), [50, null])
  assert.deepEqual(runningValues(series, {}), [])
})

test('the range has air, percentages end at 0 and 100, no values have no range', () => {
  const range = (scale, y, more = {}) => valueRange({series: [{key: 'a', scale, y, ...more}]}, {})
  const near = (a, b) => a.forEach((v, i) => assert.ok(Math.abs(v - b[i]) < 1e-9, `${a} ${b}`))
  near(range(1, [1, null, 2]), [.94, 2.06])
  near(range(1, [4]), [2, 6])
  near(range(1, [0]), [-1, 1])
  near(range(100, [1, 99]), [0, 100])
  near(range(100, [50], {low: [40], high: [60]}), [38.8, 61.2])
  assert.equal(range(1, [null]), null)
})

test('the first epoch is at the axis, the last at the right margin, low values below', () => {
  const {x, y} = panelScales([0, 1], [1, 10], 200)
  assert.deepEqual([x(1), x(10), y(0), y(1)], [38, 154, 124, 6])
})

test('a missing value interrupts the line', () => {
  assert.equal(linePath([1, 2, 3, 4, 5], [1, 2, null, 4, 5], flat), 'M1.0 1.0L2.0 2.0M4.0 4.0L5.0 5.0')
  assert.equal(linePath([1], [null], flat), '')
})

test('a band goes along the upper bounds and back along the lower, where both are known', () => {
  assert.equal(bandOutline([1, 2, 3], [1, null, 3], [4, 5, 6], flat), '1,4 3,6 3,3 1,1')
})
