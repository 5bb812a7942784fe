"Package metadata from `settings.ini`, the version from `segkc_fastai/__init__.py`"
import ast
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
licenses = dict(apache2='Apache-2.0')
statuses = {'2': 'Pre-Alpha', '3': 'Alpha', '4': 'Beta', '5': 'Production/Stable'}

def read(name): return (root/name).read_text(encoding='utf-8')

def read_version(lib):
    "`__version__` as written: importing the package would need everything it requires"
    assigns = (o for o in ast.parse(read(f'{lib}/__init__.py')).body if isinstance(o, ast.Assign))
    return next(ast.literal_eval(o.value) for o in assigns if o.targets[0].id=='__version__')

parser = ConfigParser(delimiters=['='])
parser.read_string(read('settings.ini'))
cfg = parser['DEFAULT']
lib = cfg['lib_name']
# `make readme` needs the package installed, so the package must install before there is a README.md
readme = read('README.md') if (root/'README.md').exists() else ''
status = f"Development Status :: {cfg['status']} - {statuses[cfg['status']]}"
topics = ['Intended Audience :: Science/Research', 'Programming Language :: Python :: 3', 'Topic :: Scientific/Engineering :: Image Recognition']
about = dict(description=cfg['description'], keywords=cfg['keywords'].split(), author=cfg['author'], classifiers=[status]+topics)
texts = dict(license_expression=licenses[cfg['license']], long_description=readme, long_description_content_type='text/markdown')
urls = dict(Repository=cfg['git_url'], Documentation=cfg['doc_url'])
needs = dict(install_requires=cfg['requirements'].split(), extras_require={k:cfg[f'{k}_requirements'].split() for k in ('onnx','weights','coco','bands','tensorboard','wandb','umap','slurm','dev')})
scripts = dict(console_scripts=cfg['console_scripts'].split(), nbdev=[f'{lib} = {lib}._modidx:d'])

setup(name=lib, version=read_version(lib), python_requires=f">={cfg['min_python']}", packages=find_packages(include=[lib, f'{lib}.*']),
    include_package_data=True, zip_safe=False, project_urls=urls, entry_points=scripts, **about, **texts, **needs)
