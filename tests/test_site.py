"What nbdev makes of the notebooks for the docs: every page, with its introduction, and no cell that hides a function."
import json, subprocess, sys, yaml
from pathlib import Path

root = Path(__file__).parents[1]

def pages(folder): return {f.relative_to(folder).as_posix(): json.loads(f.read_text('utf-8')) for f in folder.rglob('*.ipynb')}

def text(cell): return ''.join(cell['source'])

def test_pages(tmp_path):
    "Notebooks become pages without an error; nothing of a title's own cell is lost, for it holds nothing else."
    code = f'from nbdev.serve import proc_nbs; print(proc_nbs({str(root/"nbs")!r}, n_workers=1, force=True))'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, encoding='utf-8', cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    made, notebooks = pages(Path(done.stdout.splitlines()[-1])), pages(root/'nbs')
    assert set(made) == set(notebooks)
    for name,nb in notebooks.items():
        title = next(c for c in nb['cells'] if c['cell_type'] == 'markdown')
        lines = [l for l in text(title).splitlines() if l.strip()]
        assert len(lines) == 2 and lines[0].startswith('# ') and lines[1].startswith('> '), name
        front = yaml.safe_load(text(made[name]['cells'][0]).strip().strip('-'))  # what Quarto shows as the title
        assert front['title'] == lines[0][2:] and front['description'] == lines[1][2:], name
        assert not any('execution' in c['metadata'] for c in made[name]['cells']), name
