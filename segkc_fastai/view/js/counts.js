// Counts made once per image. A panel has `label` and perhaps `confidence`, one byte per pixel each

// Confidences are round(255 p); pixels with at least this byte are kept
export const byteThreshold = t => Math.floor(255 * t + .5)

// 0…4: both right, only a, only b, wrong differently, wrong alike
function partOf(a, b, t) {
  if (a === t) return b === t ? 0 : 1
  if (b === t) return 2
  return a === b ? 4 : 3
}

// Without ground truth: 0 for agreement, 1…254 for disagreement, by the lower confidence
function disputeOf(a, b, i) {
  if (a.label[i] === b.label[i]) return 0
  if (!a.confidence || !b.confidence) return 254
  return 1 + Math.round(Math.min(a.confidence[i], b.confidence[i]) * 253 / 255)
}

// The part of each pixel; and `kept`, at k·257+c the pixels in part k that both label with at least confidence c.
// Without ground truth the parts are agreement and disagreement; the part after the last stands for all
export function fiveParts(a, b, truth, ignore) {
  const parts = new Uint8Array(a.label.length)
  const groups = truth ? 5 : 2
  const kept = new Float64Array((groups + 1) * 257)
  for (let i = 0; i < parts.length; i++) {
    if (!truth) parts[i] = disputeOf(a, b, i)
    else parts[i] = truth[i] === ignore ? ignore : partOf(a.label[i], b.label[i], truth[i])
    if (truth && parts[i] === ignore) continue
    const least = Math.min(a.confidence ? a.confidence[i] : 255, b.confidence ? b.confidence[i] : 255)
    kept[(truth ? parts[i] : +(parts[i] > 0)) * 257 + least]++
  }
  accumulate(kept, groups)
  return {parts, groups, kept}
}

// Pixels in each part that both keep at threshold t, and in all of them
export function partCounts({groups, kept}, t) {
  return Array.from({length: groups + 1}, (_, k) => kept[k * 257 + t])
}

// kept, known, right: at k·257+c the pixels labelled k with at least confidence c: all, with a known class, right;
// real: pixels of each true class; n: pixels labelled with a class. Class K stands for all classes
export function histograms({label, confidence}, truth, K) {
  const [kept, known, right] = [0, 1, 2].map(() => new Float64Array((K + 1) * 257))
  const real = new Float64Array(K + 1)
  for (let i = 0; i < label.length; i++) {
    const k = label[i]
    const at = k * 257 + (confidence ? confidence[i] : 255)
    if (k < K) kept[at]++
    if (!truth || truth[i] >= K) continue
    real[truth[i]]++
    if (k >= K) continue
    known[at]++
    if (k === truth[i]) right[at]++
  }
  for (const h of [kept, known, right]) accumulate(h, K)
  for (let k = 0; k < K; k++) real[K] += real[k]
  return {kept, known, right, real, n: kept[K * 257]}
}

// Sums from the highest confidence down; the 257th column stays 0
function accumulate(h, K) {
  for (let k = 0; k < K; k++) {
    for (let c = 255; c >= 0; c--) {
      h[k * 257 + c] += h[k * 257 + c + 1]
      h[K * 257 + c] += h[k * 257 + c]
    }
  }
}

export const keeps = ({confidence}, i, t) => !confidence || confidence[i] >= t

// Pixels that both keep, by their class in a and in b
export function crossCount(a, b, t, K, into) {
  into.fill(0)
  for (let i = 0; i < a.label.length; i++) {
    const k = a.label[i]
    const l = b.label[i]
    if (k < K && l < K && keeps(a, i, t) && keeps(b, i, t)) into[k * K + l]++
  }
  return into
}

// 1 for listed pixels with class i in a and class j in b that both keep, else 0
export function cellHits(a, b, [i, j], t, idx, hit) {
  for (let k = 0; k < idx.length; k++) {
    const q = idx[k]
    hit[k] = +(a.label[q] === i && b.label[q] === j && keeps(a, q, t) && keeps(b, q, t))
  }
}
