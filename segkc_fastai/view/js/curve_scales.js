// The computations of a panel of curves, without a page: ranges, round ticks, labels kept apart, outlines

export const MARGINS = {left: 38, right: 46, top: 6, bottom: 16}
export const PANEL_HEIGHT = 140

export function shortNumber(v) {
  const magnitude = Math.abs(v)
  if (v === 0) return '0'
  if (magnitude >= 1e-2 && magnitude < 1e4) return String(+v.toPrecision(3))
  return v.toExponential(1).replace('.0e', 'e').replace('e+', 'e')
}

export const withUnit = (v, scale) => shortNumber(v) + (scale === 100 ? ' %' : '')

// About n round numbers from lo to hi
export function roundTicks(lo, hi, n, whole = false) {
  const raw = Math.max((hi - lo) / n, 1e-12)
  const ten = 10 ** Math.floor(Math.log10(raw))
  const near = [1, 2, 5, 10].map(k => k * ten).find(s => s >= raw * .999)
  const step = whole ? Math.max(1, Math.round(near)) : near
  const res = []
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + 1e-9 * step; i++) res.push(+(i * step).toPrecision(12))
  return res
}

// Ticks with the digits that their distance requires, so that none is written twice
export function tickTexts(ticks) {
  const power = v => Math.floor(Math.log10(v) + 1e-9)
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : Math.abs(ticks[0]) || 1
  const top = Math.max(...ticks.map(Math.abs)) || 1
  if (top >= 1e-2 && top < 1e5) return ticks.map(t => t.toFixed(Math.max(0, -power(step))))
  const digits = t => Math.max(0, power(Math.abs(t)) - power(step))
  return ticks.map(t => t ? t.toExponential(digits(t)).replace('e+', 'e') : '0')
}

// As many ticks of epochs as have room side by side
export function epochTicks([first, last], room) {
  const n = Math.max(1, Math.min(4, Math.floor(room / (6 * String(last).length + 14))))
  const found = roundTicks(Math.ceil(first), last, n, true)
  return found.length ? found : [last]
}

// Labels from the top, each with its height `to`: at least a gap apart, none below the bottom
export function spreadLabels(labels, gap, bottom) {
  const res = labels.map(o => ({...o})).sort((a, b) => a.y - b.y)
  res.forEach((o, i) => {
    o.to = i ? Math.max(o.y, res[i - 1].to + gap) : o.y
  })
  const n = res.length
  res.forEach((o, i) => {
    o.to = Math.min(o.to, bottom - (n - 1 - i) * gap)
  })
  return res
}

// The points of the current epoch in a series
export const runningValues = (series, running) =>
  (running.y?.[series.key] ?? []).map(v => v == null ? null : v * series.scale)

// Lowest and highest value with some margin, percentages within 0 and 100; null if there are no values
export function valueRange(panel, running) {
  const all = panel.series.flatMap(s => [s.y, s.low ?? [], s.high ?? [], runningValues(s, running)].flat())
  const known = all.filter(v => v != null)
  if (!known.length) return null
  const lo = Math.min(...known)
  const hi = Math.max(...known)
  const air = (hi - lo) * .06 || Math.abs(hi) * .5 || 1
  return panel.series[0].scale === 100 ? [Math.max(lo - air, 0), Math.min(hi + air, 100)] : [lo - air, hi + air]
}

// From the first epoch that is drawn; a single one stands in the middle
export function epochRange({x, total}, running) {
  const drawn = [...x, ...running.x ?? []]
  const first = drawn.length ? Math.min(...drawn) : 0
  const last = Math.max(total, ...drawn)
  return first === last ? [first - .5, last + .5] : [first, last]
}

// Positions of an epoch and of a value
export function panelScales([lo, hi], [first, last], width) {
  const {left, right, top, bottom} = MARGINS
  return {
    x: v => left + (v - first) / (last - first) * (width - left - right),
    y: v => PANEL_HEIGHT - bottom - (v - lo) / (hi - lo) * (PANEL_HEIGHT - top - bottom),
  }
}

// A missing value interrupts the line
export function linePath(xs, ys, scales) {
  let pen = 'M'
  return ys.map((v, i) => {
    const d = v == null ? '' : `${pen}${scales.x(xs[i]).toFixed(1)} ${scales.y(v).toFixed(1)}`
    pen = d ? 'L' : 'M'
    return d
  }).join('')
}

// Along the upper bounds and back along the lower ones
export function bandOutline(xs, low, high, scales) {
  const on = xs.map((_, i) => i).filter(i => low[i] != null && high[i] != null)
  const edge = [...on.map(i => [i, high[i]]), ...on.toReversed().map(i => [i, low[i]])]
  return edge.map(([i, v]) => `${scales.x(xs[i])},${scales.y(v)}`).join(' ')
}

// Positions of known values between unknown ones, through which no line leads
export const lonely = ys => ys.flatMap((v, i) => v != null && ys[i - 1] == null && ys[i + 1] == null ? [i] : [])
