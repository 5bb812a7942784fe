"README.md, the sidebar and, where there is no quarto, the pages: the notebooks through nbdev's own filters, then nbconvert"
import argparse, os, posixpath, re, shutil
from pathlib import Path
import nbformat, yaml
from fastcore.nbio import nb2str, read_nb
from nbconvert import HTMLExporter, MarkdownExporter
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import nbglob
from nbdev.processors import FilterDefaults

cfg = get_config()
nbs,root = cfg.nbs_path,cfg.config_path

def notebooks():
    "Paths of all notebooks below nbs/, the index first, then folders and files in the order of their numbers"
    paths = (Path(o).relative_to(nbs) for o in nbglob(nbs))
    return sorted(paths, key=lambda p: (p.name!='index.ipynb', p.parts[0]=='tutorials', p.parts))

def pages(): return {nbpath2html(p).as_posix(): p.as_posix() for p in notebooks()}

def clean_cell(cell):
    "Act on what only quarto would understand: directives, `echo: false`, fenced divs, link attributes"
    if cell.cell_type=='markdown': cell.source = re.sub(r'^:::.*\n?', '', cell.source, flags=re.M)
    for o in cell.get('outputs', []):
        if 'text/markdown' in o.get('data', {}): o['data']['text/markdown'] = re.sub(r'(\))\{[^{}\n]*\}', r'\1', o['data']['text/markdown'])
    if cell.cell_type!='code': return
    cell.metadata.pop('execution', None) # timings as numbers, which nbformat refuses
    if re.search(r'^#\|\s*echo:\s*false', cell.source, flags=re.M): cell.metadata['transient'] = dict(remove_source=True)
    cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M)

def process(path):
    "The notebook as nbdev shows it, with title and subtitle as plain Markdown again"
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
    "Apply `f` to the target of each relative link and picture in the prose, and of each link into our documentation; code is left alone"
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

def readme(dest):
    "README.md from index.ipynb, its links as seen from the root; pictures among the outputs go to nbs/index_files"
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
    "nbs/sidebar.yml with one section a folder; nbdev's own drops the folders' numbers from the links as well as from the titles"
    contents,sections = [],{}
    for p in notebooks():
        if len(p.parts)==1: contents.append(p.as_posix())
        else:
            name = re.sub(r'^\d+_', '', p.parts[0])
            if name not in sections: contents.append(dict(section=name, contents=sections.setdefault(name, [])))
            sections[name].append(p.as_posix())
    (nbs/'sidebar.yml').write_text(yaml.dump(dict(website=dict(sidebar=dict(contents=contents))), sort_keys=False))

def site():
    "Plain HTML pages in _docs, linked with each other"
    html2nb = pages()
    nb2html = {v: k for k,v in html2nb.items()}
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.copytree(nbs, cfg.doc_path, ignore=shutil.ignore_patterns('*.ipynb', '*.yml', '.*', '_*', '*.css'))
    for html,path in html2nb.items():
        up = posixpath.relpath('.', posixpath.dirname(html) or '.')
        def _f(target, ours, anchor):
            if ours: return posixpath.join(up, target) + anchor
            o = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            return posixpath.join(up, nb2html[o]) + anchor if o in nb2html else target + anchor
        nb = relink(process(path), _f)
        links = [f"[{nbpath2html(p).with_suffix('')}]({posixpath.join(up, nbpath2html(p).as_posix())})" for p in notebooks()]
        nb.cells.insert(0, nbformat.v4.new_markdown_cell(' · '.join(links)))
        out = cfg.doc_path/html
        out.parent.mkdir(parents=True, exist_ok=True)
        exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
        out.write_text(exporter.from_notebook_node(nb, resources=dict(metadata=dict(name=Path(html).stem)))[0], encoding='utf-8')
        print(out.relative_to(root))

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('what', choices=['readme', 'sidebar', 'site'])
    p.add_argument('--out', default=root/'README.md', help='where the README goes')
    args = p.parse_args()
    # As nbdev does while it processes: cells that export must not
    os.environ['IN_TEST'] = '1'
    if args.what=='readme': readme(args.out)
    else: dict(sidebar=sidebar, site=site)[args.what]()
