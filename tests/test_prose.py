"Prose, docstrings, messages and comments are free of sentences that read as if translated"
import ast, io, json, re, tokenize
from collections import Counter
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT/o for o in ('README.md','CONTRIBUTING.md','CHANGELOG.md','data/README.md')]
NOTEBOOKS = [o for o in sorted((ROOT/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in o.parts]
CODE = [o for k in ('segkc_fastai','tests','.ci') for o in sorted((ROOT/k).rglob('*.py')) if o.name!='_modidx.py']
SCRIPTS = sorted((ROOT/'segkc_fastai'/'view'/'js').glob('*.js'))

HEADLESS = re.compile(r'(?:^|(?<=[.!:;] )|(?<=\n))(?:What|Whoever|Whatever)\b(?![^.!?]*\?)[^.!?\n]*')
PHRASES = re.compile(r'\b(?:is|are) (?:said|told|named|asked for)\b|\bwhat is not there\b|\bwhy which\b|\bof that kind\b|'
    r'\bpixels that (?:do not )?count\b|\bdo(?:es)? not count\b|\b\w+ too many is\b|\bthere (?:is|are) none\b|\bis none\b')

def plain(text):
    "Prose of a page without code, tables and headings"
    text = re.sub(r'```.*?```|`[^`\n]*`|\$\$.*?\$\$|^\s*[|#!].*$', '', text, flags=re.S|re.M)
    return re.sub(r'[*_]', '', text)

def paragraphs(text): return [' '.join(o.split()) for o in re.split(r'\n\s*(?:\n|[-*] |\d+\. )', plain(text)) if o.strip()]

def strings(source):
    "Docstrings, messages and comments of Python code"
    for o in ast.walk(ast.parse(source)):
        if isinstance(o, ast.Constant) and isinstance(o.value, str) and ' ' in o.value: yield ' '.join(o.value.split())
    for o in tokenize.generate_tokens(io.StringIO(source).readline):
        if o.type==tokenize.COMMENT: yield o.string.lstrip('# ')

def notebook(path): return [p for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type']=='markdown' for p in paragraphs(''.join(c['source']))]

def text_of(path):
    if path.suffix=='.ipynb': return notebook(path)
    text = path.read_text(encoding='utf-8')
    if path.suffix=='.md': return paragraphs(text)
    return list(strings(text)) if path.suffix=='.py' else re.findall(r"//.*|'[^'\n]* [^'\n]*'|`[^`]* [^`]*`", text)

def faults(text): return [m[0] for o in text for m in (*HEADLESS.finditer(o), *PHRASES.finditer(o))]

def test_faults_are_found():
    assert faults(['What is no published file is thrown away.'])==['What is no published file is thrown away']
    assert faults(['It ends. What differs is told.'])==['What differs is told', 'is told']
    assert faults(['pixels that do not count do not count'])==['pixels that do not count','do not count']
    assert not faults(['What does a threshold keep?', 'It shows what differs.', 'A file named in the list.'])

def repeated(text):
    "Sentences of a page that occur twice"
    n = Counter(o for p in text for o in re.split(r'(?<=[.!?]) ', p) if len(o)>25)
    return [k for k in n if n[k]>1]

def test_repeated_sentences_are_found(): assert repeated(['It ends. The first sentence is here.', 'The first sentence is here.'])==['The first sentence is here.']

@pytest.mark.parametrize('path', [*PAGES, *NOTEBOOKS], ids=lambda o: str(o.relative_to(ROOT)))
def test_a_sentence_occurs_once(path): assert not repeated(text_of(path))

@pytest.mark.parametrize('path', [o for o in (*PAGES, *NOTEBOOKS, *CODE, *SCRIPTS) if o.name!='test_prose.py'], ids=lambda o: str(o.relative_to(ROOT)))
def test_prose(path): assert not faults(text_of(path))

if __name__=='__main__':
    for o in (*PAGES, *NOTEBOOKS, *CODE, *SCRIPTS):
        for k in faults(text_of(o)): print(f'{o.relative_to(ROOT)}: {k}')
