"Make the tables of results, README.md, llms.txt, the sidebar and, without quarto, the pages: notebooks pass through nbdev's filters, then nbconvert"
import argparse, json, os, posixpath, re, shutil
from contextlib import chdir
from pathlib import Path
from urllib.parse import unquote
import nbformat, yaml
from execnb.shell import CaptureShell
from fastcore.nbio import nb2str, read_nb, write_nb
from nbconvert import HTMLExporter, MarkdownExporter
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import nbglob
from nbdev.processors import FilterDefaults

cfg = get_config()
nbs,root = cfg.nbs_path,cfg.config_path

WIDGET = 'application/vnd.jupyter.widget-view+json'
GUIDES = ['tutorials','how_to','explanations'] # listed before the reference, whose folders are numbered

def notebooks():
    "Paths of all notebooks below nbs/: the index, the guides, then folders and files in the order of their numbers"
    place = lambda p: GUIDES.index(p.parts[0]) if p.parts[0] in GUIDES else len(GUIDES)
    paths = (Path(o).relative_to(nbs) for o in nbglob(nbs))
    return sorted(paths, key=lambda p: (p.name!='index.ipynb', place(p), p.parts))

def pages(): return {nbpath2html(p).as_posix(): p.as_posix() for p in notebooks()}

def sections():
    "Title of each section → its notebooks; a notebook outside the folders is a section by itself"
    res = {}
    for p in notebooks(): res.setdefault(re.sub(r'^\d+_', '', p.with_suffix('').parts[0]).replace('_', ' '), []).append(p)
    return res

def clean_cell(cell):
    "Apply or remove syntax that only quarto understands: directives, `echo: false`, fenced divs, link attributes"
    if cell.cell_type=='markdown':
        cell.source = re.sub(r'^:::.*\n?', '', cell.source, flags=re.M)
        cell.source = re.sub(r'\[\[(`[^`\n]+`)\]\([^)\s]+\)\]\(', r'[\1](', cell.source) # nbdev links names within links
    for o in cell.get('outputs', []):
        if 'text/markdown' in o.get('data', {}): o['data']['text/markdown'] = re.sub(r'(\))\{[^{}\n]*\}', r'\1', o['data']['text/markdown'])
    if cell.cell_type!='code': return
    cell.outputs = [o for o in cell.outputs if [*o.get('data', {})]!=[WIDGET]] # the next output is its picture
    cell.metadata.pop('execution', None) # timings as numbers, which nbformat rejects
    if re.search(r'^#\|\s*echo:\s*false', cell.source, flags=re.M): cell.metadata['transient'] = dict(remove_source=True)
    cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M)

def process(path):
    "A notebook as nbdev shows it, with title and subtitle as plain Markdown again"
    nb = read_nb(nbs/path)
    FilterDefaults()(nb)
    nb = nbformat.reads(nb2str(nb), as_version=4)
    if nb.cells and nb.cells[0].cell_type=='raw':
        fm = next(yaml.safe_load_all(nb.cells[0].source))
        nb.cells[0] = nbformat.v4.new_markdown_cell(f"# {fm.get('title', path)}\n\n" + (f"> {fm['description']}" if 'description' in fm else ''))
    nb.metadata['language_info'] = dict(name='python')
    for c in nb.cells: clean_cell(c)
    return nb

def relink(nb, f):
    "Apply `f` to the targets of relative links and pictures in the prose, and of links into the documentation, but not in code"
    def _f(m):
        target,hash_,anchor = m[2].partition('#')
        ours = target.startswith(cfg.doc_url)
        if not target or (re.match(r'[a-z]+:|/', target) and not ours): return m[0]
        return m[1] + f(target.removeprefix(cfg.doc_url), ours, hash_+anchor)
    def _links(text): return re.sub(r'(\]\(|\b(?:src|href)=")([^)"\s]+)', _f, text)
    for c in nb.cells:
        if c.cell_type!='markdown': continue
        bits = re.split(r'(```.*?```|`[^`\n]*`)', c.source, flags=re.S)
        c.source = ''.join(o if i%2 else _links(o) for i,o in enumerate(bits))
    return nb

def render(cells):
    "Run the cells of a page that show results, and the hidden ones with their imports; keep what they display"
    shell = CaptureShell()
    for c in cells:
        outputs = shell.run(c.source)
        if failed := [o['evalue'] for o in outputs if o['output_type']=='error']: raise SystemExit(f'{c.source}\n{failed[0]}')
        if 'echo: false' in c.source: c.outputs = [{**o, 'execution_count':None} for o in outputs] # as nbdev-clean leaves them

def tables():
    "Render the tables of results again, in every notebook, from the CSV files in nbs/results"
    for path in notebooks():
        nb = read_nb(nbs/path)
        cells = [c for c in nb.cells if c.cell_type=='code' and re.match(r'#\| (hide\n[\s\S]*(runs\.tables|core\.markdown)|echo: false)', c.source)]
        with chdir((nbs/path).parent): render(cells)
        if cells: write_nb(nb, nbs/path)

def readme(dest):
    "Write README.md from index.ipynb, with links relative to the root; pictures among the outputs go to nbs/index_files"
    html2nb = pages()
    def _f(target, ours, anchor):
        if ours: return posixpath.join('nbs', html2nb.get(target, target))
        return posixpath.normpath(posixpath.join('nbs', target)) + anchor
    nb = relink(process(cfg.readme_nb), _f)
    body,res = MarkdownExporter().from_notebook_node(nb, resources=dict(output_files_dir='nbs/index_files'))
    for name,data in res['outputs'].items():
        (root/name).parent.mkdir(exist_ok=True)
        (root/name).write_bytes(data)
    Path(dest).write_text(re.sub(r'\n{3,}', '\n\n', body).strip() + '\n', encoding='utf-8')

def sidebar():
    "Write nbs/sidebar.yml with one section per folder; nbdev's version drops the numbers of folders from links as well as titles"
    contents = []
    for name,paths in sections().items():
        links = [p.as_posix() for p in paths]
        contents += links if len(paths[0].parts)==1 else [dict(section=name, contents=links)]
    (nbs/'sidebar.yml').write_text(yaml.dump(dict(website=dict(sidebar=dict(contents=contents))), sort_keys=False))

def entry(path):
    "The line of a page in llms.txt: its module, or else its title, and its subtitle"
    cells = json.loads((nbs/path).read_text(encoding='utf-8'))['cells']
    source = [''.join(c['source']) for c in cells]
    title,_,subtitle = source[0].removeprefix('# ').partition('\n> ')
    module = re.search(r'^#\|\s*default_exp (\S+)', '\n'.join(source), flags=re.M)
    name = f'{cfg.lib_name}.{module[1]}' if module else title
    return f'- [{name}]({cfg.doc_url}{nbpath2html(path).as_posix()}.md): {subtitle.strip()}'

def llms(dest):
    "Write llms.txt: the introduction of the index, and a line per page with a link to its Markdown"
    intro = json.loads((nbs/cfg.readme_nb).read_text(encoding='utf-8'))['cells'][1]['source']
    text = re.sub(r'\n*!\[.*', '', ''.join(intro))
    parts = [f'# {cfg.lib_name}', f'> {cfg.description}', text]
    for name,paths in sections().items(): parts += [f'## {name.capitalize()}', '\n'.join(map(entry, paths))]
    Path(dest).write_text('\n\n'.join(parts) + '\n', encoding='utf-8')

def page(path, html2nb):
    "The notebook at `path` with links as on a page in _docs, and a cell of links to all pages"
    up = posixpath.relpath('.', posixpath.dirname(path) or '.')
    nb2html = {v: k for k,v in html2nb.items()}
    def _f(target, ours, anchor):
        if ours: return posixpath.join(up, target) + anchor
        o = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return posixpath.join(up, nb2html[o]) + anchor if o in nb2html else target + anchor
    nb = relink(process(path), _f)
    link = lambda p: f"[{nbpath2html(p).stem.replace('_', ' ')}]({posixpath.join(up, nbpath2html(p).as_posix())})"
    links = [f"{name}: {' · '.join(map(link, paths))}" for name,paths in sections().items()]
    return nb,nbformat.v4.new_markdown_cell('  \n'.join(links))

def write_page(path, html, html2nb):
    "Write a page as Markdown, with its pictures beside it, and as HTML with links to all pages above"
    (nb,links),out = page(path, html2nb),cfg.doc_path/html
    out.parent.mkdir(parents=True, exist_ok=True)
    body,res = MarkdownExporter().from_notebook_node(nb, resources=dict(output_files_dir=f'{out.stem}_files'))
    out.with_name(f'{out.name}.md').write_text(body, encoding='utf-8')
    for name,data in res['outputs'].items():
        (out.parent/name).parent.mkdir(exist_ok=True)
        (out.parent/name).write_bytes(data)
    nb.cells.insert(0, links)
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    out.write_text(exporter.from_notebook_node(nb, resources=dict(metadata=dict(name=out.stem)))[0], encoding='utf-8')
    print(out.relative_to(root))

def broken(site, url):
    "Broken links: of the pages below `site` to each other, and of its llms.txt, whose links begin with `url`"
    res = [o for o in re.findall(rf'\({re.escape(url)}([^)]+)\)', (site/'llms.txt').read_text(encoding='utf-8')) if not (site/o).is_file()]
    for f in site.rglob('*.html'):
        text = re.sub(r'<(script|style)\b.*?</\1>', '', f.read_text(encoding='utf-8'), flags=re.S)
        links = (unquote(o) for o in re.findall(r'<[^>]*\s(?:href|src)="([^"#?]+)', text) if not re.match(r'[a-z]+:|//', o))
        res += [f'{f.relative_to(site)}: {o}' for o in links if not (f.parent/o).exists()]
    return res

def site():
    "Write plain HTML pages with links to each other, and llms.txt, to _docs"
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.copytree(nbs, cfg.doc_path, ignore=shutil.ignore_patterns('*.ipynb', '*.yml', '.*', '_*', '*.css'))
    html2nb = pages()
    for html,path in html2nb.items(): write_page(path, html, html2nb)
    llms(cfg.doc_path/'llms.txt')
    if lost := broken(cfg.doc_path, cfg.doc_url): raise SystemExit('Broken links:\n' + '\n'.join(lost))

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('what', choices=['tables', 'readme', 'llms', 'sidebar', 'site'])
    p.add_argument('--out', help='path of README.md or llms.txt; its place in the repository by default')
    args = p.parse_args()
    # nbdev sets this as well: cells that call nbdev_export must do nothing now
    os.environ['IN_TEST'] = '1'
    if args.what=='readme': readme(args.out or root/'README.md')
    elif args.what=='llms': llms(args.out or nbs/'llms.txt')
    else: dict(tables=tables, sidebar=sidebar, site=site)[args.what]()
