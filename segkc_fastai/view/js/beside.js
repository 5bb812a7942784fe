// The texts that change with the sliders, and the canvases beside the panels
import {el, put} from './dom.js'
import {partsLook} from './look.js'
import {drawMatrix, recount} from './matrix.js'
import {css} from './pixels.js'
import {drawQuality} from './quality.js'
import {percent, thousands} from './text.js'

export function beside(v, t, cell) {
  sliders(v)
  for (const p of v.panels) notePanel(v, p, t)
  quality(v, t)
  v.ui.matrix.hidden = !v.cross
  if (!v.cross) return
  recount(v, t)
  drawMatrix(v, v.ui.matrix.firstChild, cell)
}

function sliders(v) {
  for (const name of ['threshold', 'opacity']) {
    put(v.ui[name].say, v.model.get(name).toFixed(2))
    v.ui[name].value = v.model.get(name)
  }
}

function notePanel(v, p, t) {
  put(p.note, note(v, p, t))
  p.fig.classList.toggle('off', !!p.off)
  if (p.mark) p.mark.style.left = `${100 * v.model.get('threshold')}%`
}

function note(v, p, t) {
  if (v.blink) return '(image)'
  if (p.kind === 'label' && v.mode) return {g: '(ground truth)', d: '(who is right)'}[v.mode]
  return p.hist && p.confidence ? `${percent(p.hist.kept[v.K * 257 + t], p.hist.n)} kept` : ''
}

function quality(v, t) {
  const p = v.byTitle.get(v.model.get('quality'))
  v.ui.quality.hidden = !p?.hist
  if (p?.hist) drawQuality(v, v.ui.quality.firstChild, p, t)
}

export function legends(v) {
  v.ui.classes.forEach((button, k) => {
    button.setAttribute('aria-pressed', !!v.on[k])
    button.firstChild.style.background = css(v.palette[k])
    button.classList.toggle('absent', !v.present[k])
  })
}

export function partsLegend(v, p) {
  const {count, of} = v.parts.get(p.of.join('\n'))
  const {colours} = partsLook(v)
  p.scale.replaceChildren()
  partNames(v, p).forEach((name, i) => {
    legendItem(p, `${name} ${percent(count[i], of)}`).style.background = css(colours[i])
  })
  if (!v.item.truth) {
    const ramp = legendItem(p, `disagree ${percent(of - count[0], of)}, lower confidence 0 to 1`)
    ramp.className = 'ramp'
    ramp.style.background = `linear-gradient(90deg, ${css(colours[1])}, ${css(colours[254])})`
  }
  el(p.scale, 'span', 'part', `of ${thousands(of)} pixels${v.item.truth ? ' with truth' : ''}`)
}

function partNames(v, {of: [a, b]}) {
  if (!v.item.truth) return ['agree']
  return ['both right', `only ${a} right`, `only ${b} right`, 'wrong differently', 'WRONG ALIKE']
}

function legendItem(p, text) {
  const item = el(p.scale, 'span', 'part')
  const swatch = el(item, 'i')
  item.append(text)
  return swatch
}
