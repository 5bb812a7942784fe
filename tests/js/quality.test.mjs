import assert from 'node:assert/strict'
import test from 'node:test'
import {histograms} from '../../segkc_fastai/view/js/counts.js'
import {drawQuality, qualityCurves, qualityRows} from '../../segkc_fastai/view/js/quality.js'

const PANEL = {label: [0, 0, 1, 1], confidence: [255, 100, 100, 50]}
const TRUTH = [0, 1, 1, 255]

test('curves of what is kept, its precision and its recall', () => {
  const {kept, precision, recall} = qualityCurves(histograms(PANEL, TRUTH, 3), 3)
  assert.deepEqual([kept[0], kept[60], kept[101]], [1, .75, .25])
  assert.deepEqual([precision[0], precision[101], recall[0], recall[101]], [2 / 3, 1, 2 / 3, 1 / 3])
})

test('without truth only what is kept', () => {
  assert.deepEqual(Object.keys(qualityCurves(histograms(PANEL, null, 3), 3)), ['kept'])
})

test('precision is not known where nothing is kept', () => {
  const sure = {label: [0], confidence: [9]}
  assert.ok(Number.isNaN(qualityCurves(histograms(sure, [0], 1), 1).precision[10]))
})

test('a row for each class that is predicted or there', () => {
  const rows = qualityRows(histograms(PANEL, TRUTH, 3), 3, 101)
  assert.deepEqual(rows, [
    {k: 0, kept: .5, precision: 1, recall: 1},
    {k: 1, kept: 0, precision: NaN, recall: 0},
  ])
})

test('texts have the colour of the page, beside a mark in that of their curve', () => {
  globalThis.getComputedStyle = e => e
  globalThis.devicePixelRatio = 1
  const [texts, marks] = [[], []]
  const drawn = {
    fillText(text) { texts.push([text, this.fillStyle]) },
    fillRect() { marks.push(this.fillStyle) },
  }
  const g = new Proxy(drawn, {get: (o, k) => k in o ? o[k] : () => {}})
  const canvas = {style: {}, setAttribute() {}, getContext: () => g}
  const curves = {kept: 'grey', precision: 'blue', recall: 'orange'}
  const v = {K: 3, el: {color: 'ink'}, look: {curves}, names: ['a', 'b', 'c'], palette: [1, 2, 3]}
  drawQuality(v, canvas, {hist: histograms(PANEL, TRUTH, 3), title: 'junior'}, 0)
  assert.ok(texts.some(([text]) => text === 'precision 66.7') && texts.every(([, colour]) => colour === 'ink'))
  assert.deepEqual(marks.slice(0, 3), Object.values(curves))
})
