// The widget WholeMatrix: the classes of two networks crossed over all images; a cell leads to the images that have it
import {el, keepKeys, put, u8, widgetRoot} from './dom.js'
import {cellAt, cellText, classOrder, drawMatrix} from './matrix.js'
import {matrixKeys} from './matrix_keys.js'
import {colours} from './pixels.js'

function renderWhole({model, el: host}) {
  const root = widgetRoot(host, 'segkc segkc-whole', 'matrix of all images')
  const names = model.get('_names')
  const look = {disputed: model.get('_disputed')}
  const w = {el: root, model, names, K: names.length, look}
  w.canvas = el(root, 'canvas')
  w.line = el(root, 'div', 'line')
  const under = ev => cellAt(w.cross, ev.offsetX, ev.offsetY)
  w.canvas.onclick = ev => chooseWhole(w, under(ev))
  w.canvas.onpointermove = ev => describeWhole(w, under(ev))
  w.canvas.onpointerleave = () => describeWhole(w, null)
  const draw = () => drawWhole(w)
  const off = keepKeys(root)
  matrixKeys(w, w.canvas, draw, cell => chooseWhole(w, cell))
  const theme = new MutationObserver(draw)
  theme.observe(document.body, {attributeFilter: ['class', 'data-jp-theme-name', 'data-vscode-theme-kind']})
  model.on('change', draw)
  requestAnimationFrame(draw) // the colour of the text is that of the page, of which the element is not yet a part
  return () => {
    model.off('change', draw)
    off()
    theme.disconnect()
  }
}

function drawWhole(w) {
  const count = Array.from(new Float64Array(u8(w.model.get('_count')).slice().buffer))
  w.palette = colours(w.model.get('_palettes')[+w.model.get('safe')])
  const [a, b] = w.model.get('titles').map(title => ({title}))
  w.cross = {a, b, count, order: classOrder(count, w.K, false)}
  drawMatrix(w, w.canvas, w.model.get('cell'), '')
  describeWhole(w, w.pointed)
}

function chooseWhole(w, classes) {
  if (!classes) return
  w.model.set('cell', [w.cross.a.title, w.cross.b.title, ...classes])
  w.model.save_changes()
}

function describeWhole(w, classes) {
  if (!classes) return put(w.line, w.model.get('about'))
  put(w.line, cellText(w, classes, 'of all images'))
}

export default {render: renderWhole}
