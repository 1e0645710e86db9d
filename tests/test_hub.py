"`Run.from_hub` against a server that speaks what `huggingface_hub` asks of the Hub, and model cards as it reads them."
import hashlib, json, os, re, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit
import pytest
import safetensors.torch as st
from cifar_oc.checks import ORIGINAL
from cifar_oc.config import Config
from cifar_oc.hub import card_header, is_original
from cifar_oc.recipes import get_recipe
from cifar_oc.restore import *
from cifar_oc.runs import Run

hub = pytest.importorskip('huggingface_hub')
commit = 'c0ffee'.ljust(40, '0')

class Handler(BaseHTTPRequestHandler):
    "The Hub's answers for the folders in `repos`; every path asked for goes into `asked`."
    repos, asked = {}, []
    def log_message(self, *args): pass
    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for k,v in dict(Content_Length=len(body), X_Repo_Commit=commit, **headers).items(): self.send_header(k.replace('_', '-'), str(v))
        self.end_headers()
        if self.command == 'GET': self.wfile.write(body)
    def json(self, o): self.answer(200, json.dumps(o).encode(), Content_Type='application/json')
    def do_GET(self):
        self.asked.append(path := unquote(urlsplit(self.path).path))
        found = re.fullmatch(r'(?:/api/models)?/(\w+/[\w-]+)(?:/(revision|tree|resolve)/([^/]+)(?:/(.*))?)?', path)
        name,kind,revision,file = found.groups() if found else [None]*4
        if name not in self.repos: return self.answer(404, X_Error_Code='RepoNotFound', X_Error_Message='Repository not found')
        if revision not in ('main', 'v1', commit): return self.answer(404, X_Error_Code='RevisionNotFound', X_Error_Message='Invalid rev id')
        files = {p.relative_to(self.repos[name]).as_posix(): p.read_bytes() for p in self.repos[name].rglob('*') if p.is_file()}
        oid = lambda b: hashlib.sha256(b).hexdigest()
        if kind == 'revision': self.json(dict(id=name, modelId=name, sha=commit, private=False, tags=[], downloads=0, likes=0, siblings=[dict(rfilename=f) for f in files]))
        elif kind == 'tree': self.json([dict(type='file', path=f, size=len(b), oid=oid(b)) for f,b in files.items()])
        elif file in files: self.answer(200, files[file], ETag=f'"{oid(files[file])}"', Content_Type='application/octet-stream')
        else: self.answer(404, X_Error_Code='EntryNotFound', X_Error_Message='Entry not found')
    do_HEAD = do_GET

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run folder as `train` leaves it, with files that no run has and nobody should fetch."
    folder = tmp_path_factory.mktemp('hub')/'run'
    run = Run.create(folder, Config('demo', epochs=1, lr_min=1e-4, lr_max=1e-3, seed=0, precision='fp32', data='demo pictures (not CIFAR-10)', fingerprint=dict(order='1', pictures='2'), vocab=tuple('abcdefghij')))
    st.save_model(get_recipe('course').net(10), folder/'model.safetensors')
    sha256 = hashlib.sha256((folder/'model.safetensors').read_bytes()).hexdigest()
    (folder/'metrics.json').write_text(json.dumps(dict(accuracy=.5, loss=1.5, n=256, sha256=sha256)))
    for name in 'evil.py', 'weights.pkl', 'checkpoint.safetensors.new', 'README.md': (folder/name).write_text('import os')
    return run

@pytest.fixture(scope='module')
def server(run, tmp_path_factory):
    "The endpoint of a Hub that has the run, one with only what predicts, and repositories that are no run."
    Handler.repos = {f'me/{name}': tmp_path_factory.mktemp(name) for name in ('small', 'none', 'bert', 'harmed')} | {'me/run': run.path}
    for name in 'config.json', 'model.safetensors': (Handler.repos['me/small']/name).write_bytes((run.path/name).read_bytes())
    (Handler.repos['me/none']/'evil.py').write_text('import os')
    (Handler.repos['me/bert']/'config.json').write_text('{"model_type": "bert"}')
    for name in 'config.json', 'metrics.json': (Handler.repos['me/harmed']/name).write_bytes((run.path/name).read_bytes())
    (Handler.repos['me/harmed']/'model.safetensors').write_bytes((run.path/'model.safetensors').read_bytes()[:-1] + b'\0')
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()

program = '''
import json, sys, warnings
warnings.simplefilter('ignore')
import cifar_oc.hub, cifar_oc.restore
from cifar_oc.runs import Run
try:
    for name,revision in json.loads(sys.argv[1]):
        try:
            run = Run.from_hub(name, revision)
            print(json.dumps([sorted(p.name for p in run.path.rglob('*')), run.model().fc.weight.abs().sum().item(), run.metrics.get('accuracy')]))
        except (OSError, ValueError) as e: print(json.dumps(f'{type(e).__name__}: {e}'))
finally: print(json.dumps('done'))
'''

def fetch(endpoint, home, *wanted):
    "What `Run.from_hub` gives or says of each of `wanted`, in a process of its own, for the endpoint is read at import."
    env = os.environ | dict(HF_ENDPOINT=endpoint, HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_DISABLE_XET='1', no_proxy='*')
    process = subprocess.run([sys.executable, '-c', program, json.dumps(wanted)], env=env, capture_output=True, encoding='utf-8', timeout=300)
    assert process.returncode == 0, process.stderr
    *said,done = map(json.loads, process.stdout.splitlines())
    return said

def test_from_hub(run, server, tmp_path):
    "The files of the run come, and no others, also where there is only what predicts; without the network what was fetched is there, and the rest is said."
    weights = run.model().fc.weight.abs().sum().item()
    Handler.asked.clear()
    (files,total,accuracy),(small,small_total,none),tagged = fetch(server, tmp_path, ('me/run', None), ('me/small', None), ('me/run', 'v1'))
    assert files == ['config.json', 'metrics.json', 'model.safetensors'] and tagged == [files, total, .5]
    assert small == ['config.json', 'model.safetensors'] and none is None
    assert (total, small_total, accuracy) == (weights, weights, .5)
    assert not [p for p in Handler.asked if p.endswith(('.py', '.pkl', '.new', '.md'))]
    again,said = fetch('http://127.0.0.1:9', tmp_path, ('me/run', None), ('me/none', None))  # nobody listens there
    assert again == [files, total, .5] and said.startswith('OSError: me/none was not fetched') and len(said.splitlines()) == 1, said

def test_no_run(server, tmp_path):
    "What is no run, or not there, is said in one line."
    wanted = {('you/run', None): "FileNotFoundError: the Hub has no you/run that you may read", ('me/run', 'v2'): "FileNotFoundError: the Hub has no me/run at revision 'v2'",
        ('me/none', None): 'ValueError: me/none on the Hub is no run of cifar_oc', ('me/bert', None): 'ValueError: me/bert on the Hub is no run of cifar_oc',
        ('a/b/c', None): "ValueError: 'a/b/c' is no repository's name", ('', None): "ValueError: '' is no repository's name", ('../run', None): "ValueError: '../run' is no",
        ('me/harmed', None): 'does not hold the weights of this run'}
    for said,(name,says) in zip(fetch(server, tmp_path, *wanted), wanted.items()):
        assert says in said and len(said.splitlines()) == 1 and 'Traceback' not in said, (name, said)

@pytest.mark.parametrize('original', [True, False])
def test_card_is_read(original, run, tmp_path):
    "What we write is what `huggingface_hub` reads: licence, tags, data sets, results."
    run = Run.create(tmp_path/'my: run', run.config)
    if original: run.save_config(fingerprint=dict(order='1', pictures=ORIGINAL))
    (run.path/'metrics.json').write_text('{"accuracy": 0.9356, "loss": 0.2, "n": 10000}')
    (run.path/'README.md').write_text(card_header(run) + '\n# A title\n\n---\n\nmore\n', encoding='utf-8')
    card = hub.ModelCard.load(run.path/'README.md')
    data,(result,) = card.data,card.data.eval_results
    assert card.text.strip().startswith('# A title') and is_original(run) == original
    assert (data.license, data.library_name, data.pipeline_tag, data.metrics) == ('apache-2.0', 'cifar_oc', 'image-classification', ['accuracy'])
    assert data.model_name == 'my: run' and data.datasets == (['cifar10'] if original else None)
    assert (result.dataset_type, result.dataset_name) == (('cifar10', 'CIFAR-10') if original else ('custom', 'demo pictures (not CIFAR-10)'))
    assert (result.metric_type, result.metric_value, result.dataset_split) == ('accuracy', .9356, 'test')
    assert '10,000 test pictures after 1 epochs, seed 0, without test-time augmentation' in result.metric_name
    assert hub.metadata_load(run.path/'README.md').items() >= dict(license='apache-2.0', library_name='cifar_oc').items()
