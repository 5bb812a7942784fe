// Counts of maps are kept as long as the maps, so that those of the next image are made while the page is idle
import {fiveParts, histograms} from './counts.js'

const counted = new WeakMap() // label → for each kind of count, the others that it depends on, and the result

function once(kind, [label, ...others], f) {
  const known = counted.get(label) || {}
  counted.set(label, known)
  if (!known[kind]?.others.every((o, i) => o === others[i])) known[kind] = {others, result: f()}
  return known[kind].result
}

// Called when the pixels of a label have changed
export const recountLater = label => counted.delete(label)

export const histogramsOf = (p, truth, K) =>
  once('histograms', [p.label, p.confidence, truth, K], () => histograms(p, truth, K))

export const partsOf = (a, b, truth, ignore) =>
  once('parts', [a.label, a.confidence, b.label, b.confidence, truth, ignore], () => fiveParts(a, b, truth, ignore))

// The pairs of panels that are compared; without a disagreement panel, the first two label panels, for the key d
export function comparedPairs(panels) {
  const given = panels.filter(p => p.kind === 'disagreement').map(p => p.of)
  const labels = panels.filter(p => p.kind === 'label').map(p => p.title)
  return given.length || labels.length < 2 ? given : [labels.slice(0, 2)]
}

// All counts of panels, one function for each; none if a page that was opened later lacks some of the maps
export function countsOf(panels, truth, K, ignore) {
  if (panels.some(p => p.kind === 'label' && !p.label)) return []
  const byTitle = new Map(panels.map(p => [p.title, p]))
  const parts = comparedPairs(panels).map(of => of.map(title => byTitle.get(title)))
  return [
    ...parts.map(([a, b]) => () => partsOf(a, b, truth, ignore)),
    ...panels.filter(p => p.kind === 'label').map(p => () => histogramsOf(p, truth, K)),
  ]
}

// What the panels of a view show now: in `v.parts` who is right, for each pair that is compared
export function comparePanels(v) {
  v.parts = new Map()
  for (const titles of comparedPairs(v.panels)) {
    const [a, b] = titles.map(title => v.byTitle.get(title))
    v.parts.set(titles.join('\n'), {...partsOf(a, b, v.item.truth, v.look.ignore), a, b})
  }
  v.pair = v.parts.keys().next().value
}

// And the counts of each, with the classes that appear in `v.present`
export function countPanels(v) {
  const labels = v.panels.filter(p => p.kind === 'label')
  v.present = new Uint8Array(256)
  for (const p of labels) {
    p.hist = histogramsOf(p, v.item.truth, v.K)
    for (let k = 0; k < v.K; k++) v.present[k] |= p.hist.kept[k * 257] > 0 || p.hist.real[k] > 0
  }
  if (v.item.truth && !labels.length) for (const k of v.item.truth) v.present[k] = 1
}
