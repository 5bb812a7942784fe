"""The pictures of the explorers in the documentation: `make demo`, then `python tests/screenshots.py [NAME …]`, with names
of PICTURES or `film`. A machine without a monitor will do.

Opens the demo's runs in a JupyterLab of its own, operates the explorers in Chromium as a user would, and writes
nbs/images/NAME.png and, for `film`, nbs/images/explorer.webp. After NAME, a number is that of the image to show."""
import io, sys, tempfile
from pathlib import Path
from lab import CHROMIUM, QUIET, Lab, drag, jupyterlab
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT/'nbs'/'images'
WIDTH,HEIGHT,TALL,SCALE = 1440,1000,1300,1.25 # of the window in CSS pixels, higher for the curves, and pixels of a picture for each
FILM = 1000 # width of the animated picture
MARGIN,CELL = 78,20 # of a matrix, in CSS pixels
IMPORTS = f'''
import os, tempfile
from pathlib import Path
from segkc_fastai.all import *
from segkc_fastai.view.labelling import Labeller
os.chdir({str(ROOT)!r})
alone,pair = (Run(*Path({str(ROOT/"runs"/"demo")!r}).glob(f'{{k}}-*-seed0')) for k in ('labelled-only','segkc'))'''
PICTURES = dict(disagreement='e = DisagreementExplorer(pair)', pseudo='e = PseudoLabelExplorer(pair)', viewer='e = DisagreementExplorer(pair)',
    compare='e = CompareExplorer([alone, pair])', training='e = TrainingMonitor(pair.path)',
    editor='e = Labeller(pair, masks=tempfile.mkdtemp(), n=4)')

def picture(page, sel): return Image.open(io.BytesIO(page.locator(sel).first.screenshot())).convert('RGB')

class Film:
    "Pictures of an element, each with the time it is shown"
    def __init__(self, page, sel): self.page,self.sel,self.frames = page,sel,[]
    def take(self, ms=900):
        self.page.wait_for_timeout(400) # until all has been drawn
        self.frames.append((picture(self.page, self.sel), ms))

    def save(self, path):
        size = FILM,round(FILM*self.frames[0][0].height/self.frames[0][0].width)
        ims = [im.resize(size, Image.Resampling.LANCZOS) for im,_ in self.frames]
        ims[0].save(path, save_all=True, append_images=ims[1:], duration=[ms for _,ms in self.frames], loop=0, quality=85, method=6)

def output(nb, i): return nb.cell(i)+' .jp-OutputArea-output'

def session(page, sel, film):
    "The first minute: the epochs, a confusion, the threshold, a closer look, the image that both networks get most wrong"
    film.take(1400)
    page.click(f'{sel} .box canvas')
    for _ in range(5): page.keyboard.press('ArrowDown') # earlier records
    for _ in range(6):
        film.take(700)
        page.keyboard.press('ArrowUp')
    at = page.locator(f'{sel} .matrix canvas').bounding_box()
    page.mouse.click(at['x']+MARGIN+1.5*CELL, at['y']+MARGIN+.5*CELL) # first row, second column
    film.take(1600)
    page.keyboard.press('Escape')
    for v in (.5,.8,.95,0):
        drag(page, f'{sel} .threshold', v)
        film.take(700)
    page.hover(f'{sel} .box canvas[data-title=junior]')
    for _ in range(3): page.mouse.wheel(0, -200)
    film.take(1600)
    page.keyboard.press('0')
    page.click(f'{sel} button:text("most wrong alike")')
    film.take(1800)

def accept(page, sel):
    "Accept what both networks agree on, and take the brush for the rest"
    page.focus(f'{sel} .segkc')
    for k in 'ab': page.keyboard.press(k)
    page.hover(f'{sel} .box canvas[data-title=junior]')
    page.wait_for_timeout(500)

def main(asked):
    names = [o for o in asked if not o.isdigit()] or [*PICTURES,'film']
    number = {n:int(o) for n,o in zip(asked, asked[1:]) if o.isdigit()}
    with tempfile.TemporaryDirectory() as d, jupyterlab(Path(d)) as url, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        lab = Lab(url, Path(d), browser.new_context(viewport=dict(width=WIDTH, height=HEIGHT), device_scale_factor=SCALE))
        for name in names:
            make = PICTURES['disagreement' if name=='film' else name]
            go = f'e.go(image={number[name]})\n' if name in number else ''
            with lab.run(f'{name}.ipynb', IMPORTS, f'{make}\n{go}{"e.viewer" if name=="viewer" else "e"}') as nb:
                if name in ('compare','training','editor'): nb.page.set_viewport_size(dict(width=WIDTH, height=TALL))
                nb.wait_done(200)
                nb.command('application:toggle-left-area') # no file browser
                nb.page.wait_for_timeout(3000)
                if name=='editor': accept(nb.page, output(nb, 1))
                shoot(nb, name)
        browser.close()

def shoot(nb, name):
    sel = output(nb, 1)
    if name!='film': picture(nb.page, sel).save(IMAGES/f'{name}.png', optimize=True)
    else:
        film = Film(nb.page, sel)
        session(nb.page, sel, film)
        film.save(IMAGES/'explorer.webp')

if __name__=='__main__': main(sys.argv[1:])
