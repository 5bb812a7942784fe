"""The shape of the notebooks: exported cells that are short, each with an example that is its test, and prose around them

Without arguments all notebooks, beside fastcore's; with paths of notebooks those, a line each and what is furthest from the bounds. `tests/test_shape.py` holds the bounds."""
import ast, re, sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from fastcore.nbio import read_nb
from nbdev.doclinks import nbglob

nbs = Path(__file__).parents[1]/'nbs'

def code_of(source):
    "Lines of code: no directives, no empty lines"
    return [o for o in source.splitlines() if o.strip() and not o.startswith('#|')]

def is_check(o):
    "Is a node of a syntax tree an assertion, one of fastcore.test's, or a block that expects an error?"
    if not isinstance(o, ast.Call): return isinstance(o, ast.Assert)
    return re.match(r'test_|expect_fail$', getattr(o.func, 'id', getattr(o.func, 'attr', ''))) is not None

def parsed(source):
    "A cell as a syntax tree, without magics and shell commands"
    try: return ast.parse(re.sub(r'^(\s*)[%!].*$', r'\1pass', source, flags=re.M))
    except SyntaxError: return ast.parse('')

def checks(source): return sum(map(is_check, ast.walk(parsed(source))))
def definitions(source): return [o.name for o in parsed(source).body if isinstance(o, (ast.FunctionDef,ast.ClassDef))]

def code_cells(nb):
    "(number, lines of code, is it exported?, names that it exports, source) of each cell with code"
    for i,c in enumerate(nb.cells):
        code = code_of(c.source) if c.cell_type=='code' else []
        exported = re.search(r'^#\|\s*exports?i?\b', c.source, flags=re.M) is not None
        if code: yield i,code,exported,definitions(c.source) if exported else [],c.source

def without_example(nb):
    "Names of exported definitions without an example before the next exported definition"
    res,waiting = [],[]
    for _,_,exported,defs,_ in code_cells(nb):
        if defs: res,waiting = res+waiting,defs
        elif not exported: waiting = []
    return res+waiting

@dataclass
class Shape:
    "Counts over one notebook or, added up, several"
    exported:list = field(default_factory=list) # lines of each exported cell
    widths:list = field(default_factory=list)   # characters of each line of code
    checks:int = 0 # assertions outside of exported cells
    defs:int = 0   # exported functions and classes; methods by `@patch` count as functions
    shown:int = 0  # of these, those with an example before the next exported definition
    words:int = 0  # of prose

    def __add__(self, o): return Shape(*(getattr(self, f.name)+getattr(o, f.name) for f in fields(self)))

    def measures(self):
        "The measures that `make shape` prints, by name"
        lines,n = sum(self.exported),len(self.widths)
        over = lambda k, values: sum(o>k for o in values)
        cells = {'exported cells':len(self.exported), 'exported lines':lines, 'lines an exported cell, median':median(self.exported), 'longest exported cell':max(self.exported),
            'exported cells over 30 lines':over(30, self.exported), 'exported cells over 40 lines':over(40, self.exported)}
        rates = {'assertions an exported line':self.checks/lines, 'definitions with an example, %':100*self.shown/max(self.defs, 1), 'words of prose an exported line':self.words/lines}
        return cells | rates | {'lines over 120 characters, %':100*over(120, self.widths)/n, 'lines over 160 characters':over(160, self.widths)}

def shape(path):
    "Shape of the notebook at `path`"
    nb = read_nb(path)
    cells = list(code_cells(nb))
    defs = sum(len(names) for *_,names,_ in cells)
    return Shape([len(code) for _,code,exported,*_ in cells if exported], [len(o) for _,code,*_ in cells for o in code],
        sum(checks(source) for *_,exported,_,source in cells if not exported), defs, defs-len(without_example(nb)),
        sum(len(c.source.split()) for c in nb.cells if c.cell_type=='markdown'))

def notebooks(folder=nbs): return sorted(map(Path, nbglob(folder)))

def total(paths):
    "Shape of all notebooks together that export something"
    return sum((o for o in map(shape, paths) if o.exported), Shape())

# fastcore 2.2.14, its nbs folder of 2026-08-19, measured by this script
FASTCORE = {'exported cells':661, 'exported lines':5375, 'lines an exported cell, median':6, 'longest exported cell':51,
    'exported cells over 30 lines':17, 'exported cells over 40 lines':4, 'assertions an exported line':.292, 'definitions with an example, %':75.98,
    'words of prose an exported line':3.792, 'lines over 120 characters, %':1.191, 'lines over 160 characters':15}

def worst(path):
    "Print what of a notebook is furthest from the bounds"
    nb = read_nb(path)
    if lone := without_example(nb): print(f'  no example before the next definition: {", ".join(lone)}')
    for i,code,exported,defs,_ in code_cells(nb):
        if exported and len(code)>20: print(f'  cell {i}: {len(code)} lines exported, {", ".join(defs)}')
        for o in code:
            if len(o)>120: print(f'  cell {i}: {len(o)} characters: {o.strip()[:60]}…')

def main(*paths):
    if not paths:
        m = total(notebooks()).measures()
        print(f'{"":36}{"here":>10}{"fastcore":>10}')
        for k,v in m.items(): print(f'{k:36}{v:10.4g}{FASTCORE[k]:10.4g}')
    for o in paths:
        print(o, *(f'{k}: {v:.3g}' for k,v in shape(o).measures().items()), sep='\n  ')
        worst(o)

if __name__=='__main__': main(*sys.argv[1:])
