// The canvases beside the panels

function resize(canvas, w, h, ratio) {
  const [W, H] = [Math.round(w * ratio), Math.round(h * ratio)]
  if (canvas.width === W && canvas.height === H) return
  Object.assign(canvas, {width: W, height: H})
  Object.assign(canvas.style, {width: w + 'px', height: h + 'px'})
}

// The cleared context of a canvas of `w` × `h` CSS pixels, sharp on any screen; `about` names it for screen readers
export function sized(canvas, w, h, about) {
  const ratio = devicePixelRatio || 1
  const g = canvas.getContext('2d')
  resize(canvas, w, h, ratio)
  canvas.setAttribute('role', 'img')
  canvas.setAttribute('aria-label', about)
  g.setTransform(ratio, 0, 0, ratio, 0, 0)
  g.clearRect(0, 0, w, h)
  g.font = '11px sans-serif'
  g.textBaseline = 'middle'
  return g
}

function circle(g, x, y) {
  g.beginPath()
  g.arc(x, y, 3.5, 0, 7)
}

export function dot(g, x, y, colour) {
  circle(g, x, y)
  g.fillStyle = colour
  g.fill()
}

export function ring(g, x, y, colour) {
  circle(g, x, y)
  g.lineWidth = 2
  g.strokeStyle = colour
  g.stroke()
}

export function write(g, text, x, y, align = 'left') {
  g.textAlign = align
  g.fillText(text, x, y)
}
