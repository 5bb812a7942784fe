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

export const histogramsOf = (p, truth, K, ignore) =>
  once('histograms', [p.label, p.confidence, truth, K, ignore], () => histograms(p, truth, K, ignore))

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
    ...panels.filter(p => p.kind === 'label').map(p => () => histogramsOf(p, truth, K, ignore)),
  ]
}
