// The texts that change with the sliders, and the canvases beside the panels
import {el, put} from './dom.js'
import {partCounts} from './counts.js'
import {partsLook} from './look.js'
import {drawMatrix, recount} from './matrix.js'
import {patch} from './pattern.js'
import {css} from './pixels.js'
import {drawQuality} from './quality.js'
import {percent, thousands} from './text.js'
import {tell} from './traits.js'

export function beside(v, t, cell) {
  tools(v)
  for (const p of v.panels) notePanel(v, p, t)
  quality(v, t)
  crossed(v, t, cell)
  if (v.telling) tell(v, v.telling)
}

function crossed(v, t, cell) {
  v.ui.matrix.hidden = !v.cross
  if (!v.cross) return
  recount(v, t)
  drawMatrix(v, v.ui.matrix.firstChild, cell)
}

// What the tools say now
function tools(v) {
  for (const name of ['threshold', 'opacity']) {
    put(v.ui[name].say, v.model.get(name).toFixed(2))
    v.ui[name].value = v.model.get(name)
  }
  put(v.ui.zoom, `zoom ${v.model.get('zoom')[0].toFixed(1)} ×`)
  for (const {button: b, on, about, lacks} of v.toggles) {
    b.setAttribute('aria-pressed', Boolean(on(v)))
    b.disabled = Boolean(lacks?.(v))
    if (lacks) b.title = lacks(v) || about
  }
}

function notePanel(v, p, t) {
  put(p.note, note(v, p, t))
  if (p.said) countParts(v, p, t)
  p.fig.classList.toggle('off', !!p.off)
  if (p.mark) p.mark.style.left = `${100 * v.model.get('threshold')}%`
}

// The layer that the label panels show instead of their labels; none for an image that lacks it
export const replacement = v => ({g: v.item.truth && 'truth', d: v.pair && 'parts'})[v.mode]

function note(v, p, t) {
  if (v.blink) return '(image)'
  const shown = p.kind === 'label' && replacement(v)
  if (shown) return {truth: '(ground truth)', parts: v.item.truth ? '(who is right)' : '(where they differ)'}[shown]
  return p.hist && p.confidence ? `${percent(p.hist.kept[v.K * 257 + t], p.hist.n)} kept` : ''
}

function quality(v, t) {
  const p = v.byTitle.get(v.model.get('quality'))
  v.ui.quality.hidden = !p?.hist
  if (p?.hist) drawQuality(v, v.ui.quality.firstChild, p, t)
}

export function legends(v) {
  v.ui.classes.forEach((button, k) => {
    button.classList.toggle('off', !v.on[k])
    if (v.tool) button.ariaDescription = v.on[k] ? null : 'hidden' // the editor's pressed button is the chosen class
    else button.setAttribute('aria-pressed', !!v.on[k])
    button.firstChild.style.background = css(v.palette[k])
    button.classList.toggle('absent', !v.tool && !v.present[k])
  })
}

// Colours and names of the parts; `countParts` writes their numbers
export function partsLegend(v, p) {
  const {colours} = partsLook(v)
  p.scale.replaceChildren()
  p.said = partNames(v, p).map((name, i) => {
    return legendItem(p, name, patch(v.item.truth ? i : 0, css(colours[i]), css(colours[256 + i])))
  })
  if (!v.item.truth) {
    const ramp = `linear-gradient(90deg, ${css(colours[1])}, ${css(colours[254])})`
    p.said.push(legendItem(p, 'disagree, lower confidence 0 to 1', ramp, 'ramp'))
  }
  p.total = el(p.scale, 'span', 'part of')
}

function partNames(v, {of: [a, b]}) {
  if (!v.item.truth) return ['agree']
  return ['both right', `only ${a} right`, `only ${b} right`, 'wrong differently', 'WRONG ALIKE']
}

function legendItem(p, name, background, cls) {
  const item = el(p.scale, 'span', 'part')
  el(item, 'i', cls).style.background = background
  el(item, 'span').textContent = name
  item.title = name
  return el(item, 'b')
}

// Of the pixels that both keep
function countParts(v, p, t) {
  const parts = v.parts.get(p.of.join('\n'))
  const counts = partCounts(parts, t)
  const [of, all] = [counts.at(-1), partCounts(parts, 0).at(-1)]
  p.said.forEach((e, i) => put(e, percent(counts[i], of)))
  const kept = of < all ? ` that both keep (${percent(of, all)})` : ''
  put(p.total, `of ${thousands(of)} pixels${v.item.truth ? ' with truth' : ''}${kept}`)
}
