"Two processes that download at once: one file, fetched once."
import hashlib, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

body = bytes(range(256))*4096

class Server(BaseHTTPRequestHandler):
    asked = []
    def log_message(self, *args): pass
    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

def test_two_processes(tmp_path):
    server = ThreadingHTTPServer(('127.0.0.1', 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = f'http://127.0.0.1:{server.server_port}/cifar10.tgz', len(body), hashlib.md5(body).hexdigest()
    code = f'from cifar_oc.data import download_cifar10; print(download_cifar10([{source!r}], {str(tmp_path)!r}))'
    processes = [subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=120)[0].strip() for p in processes] == [str(tmp_path/'cifar10.tgz')]*2
    assert (tmp_path/'cifar10.tgz').read_bytes() == body and Server.asked == ['/cifar10.tgz']
    server.shutdown()
