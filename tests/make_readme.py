"README.md from nbs/index.ipynb, without Quarto: `python tests/make_readme.py`."
import json, re
from os.path import normpath
from pathlib import Path

root = Path(__file__).parents[1]

def hidden(cell):
    "True for front matter, and for cells that the directives `hide`, `export` and `default_exp` keep out of the docs."
    return cell['cell_type'] == 'raw' or bool(re.search(r'^#\|\s*(hide|exporti?|default_exp)\b', ''.join(cell['source']), re.M))

def texts(cell):
    "The text of each part of `cell` that README.md shows: markdown or code, then text outputs."
    src = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown': return [src.strip()]
    outs = [''.join(o.get('text') or o.get('data', {}).get('text/plain', '')) for o in cell['outputs'] if o.get('name') != 'stderr']
    return [re.sub(r'^#\|.*\n', '', src, flags=re.M).strip(), *(o.rstrip() for o in outs if o.strip())]

def from_root(link):
    "The picture link `link`, a match, written from the root where it was written from nbs/."
    return link[1] + (normpath(f'nbs/{link[2]}') if (root/'nbs'/link[2]).is_file() else link[2])

def readme(nb):
    "The whole text of README.md for the notebook `nb`, a dict."
    parts = []
    for cell in nb['cells']:
        if hidden(cell): continue
        src,*outs = texts(cell)
        parts.append(re.sub(r'(!\[[^]]*\]\()([^)\s]+)', from_root, src) if cell['cell_type'] == 'markdown' else f'```python\n{src}\n```')
        parts += [re.sub('^(?=.)', '    ', o, flags=re.M) for o in outs]
    return '\n\n'.join(p for p in parts if p) + '\n'

if __name__ == '__main__': (root/'README.md').write_text(readme(json.loads((root/'nbs/index.ipynb').read_text('utf-8'))), 'utf-8')
