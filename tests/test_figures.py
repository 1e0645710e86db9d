"Every plot returns a figure that pyplot no longer holds; one that is given axes draws there."
import io
import matplotlib.figure, matplotlib.pyplot as plt
import pytest
from types import SimpleNamespace
import cifar_oc.all as c
import cifar_oc.predict

def plots():
    "The public names `plot_*` of the package: functions, and verbs of its classes."
    ours = lambda f: callable(f) and getattr(f, '__module__', '').startswith('cifar_oc')
    functions = {k for k,f in vars(c).items() if k.startswith('plot_') and ours(f)}
    verbs = {f'{o.__name__}.{k}' for o in vars(c).values() if isinstance(o, type) for k,f in vars(o).items() if k.startswith('plot_') and ours(f)}
    return functions | verbs

def some_run(folder):
    "A run with weights as they are drawn."
    run = c.Run.create(folder/'run', c.Config('demo', seed=0, precision='fp32', data='demo', vocab=tuple('abcdefghij')))
    run.save_result(run.recipe.net(10), dict(accuracy=.1, loss=2.3, n=10))
    return run

@pytest.fixture(scope='module')
def calls(tmp_path_factory):
    "A call of each plot by its name."
    c.set_seed(0)
    learn = c.cifar_learner(c.cifar_dls(c.demo_cifar10(n_train=32, n_test=32), bs=16), model=c.CustomResNet(width=4), precision='fp32')
    interp = c.CachedInterpretation.from_learner(learn)
    rows = [dict(epoch=i, train_loss=1/i, train_accuracy=.5, valid_loss=1/i, valid_accuracy=.5, seconds=1.) for i in (1,2)]
    runs = [dict(recipe=r, seed=s, accuracy=.9 + s/100, seconds=1., epochs=2, curve=[.5,.9]) for r in 'ab' for s in (0,1)]
    lrs = c.np.geomspace(1e-6, 1, 30)
    return dict(plot_lrs=lambda: c.plot_lrs(lrs, 1/(1 + lrs), c.LRs(1e-4, 1e-2)), plot_one_cycle=lambda: c.plot_one_cycle(c.LRs(1e-4, 1e-2), 4, steps=10, pct_start=.25),
        plot_history=lambda: c.plot_history(rows), plot_runs=lambda: c.plot_runs(dict(a=rows, b=SimpleNamespace(history=rows))), plot_accuracy=lambda: c.plot_accuracy(runs)) | {
        f'CachedInterpretation.{k}': getattr(interp, k) for k in ('plot_errors','plot_grad_cam','plot_calibration','plot_confusion_matrix')} | {
        'Run.plot_predictions': lambda: some_run(tmp_path_factory.mktemp('run')).plot_predictions(c.demo_cifar10(n_train=10, n_test=10).test_x[:2]),
        'CachedInterpretation.plot_top_losses': lambda: interp.plot_top_losses(4)}

def test_no_plot_is_forgotten(calls): assert plots() == calls.keys()

def test_figures_are_closed(calls):
    mine = plt.figure()
    for name,call in calls.items():
        fig = call()
        assert isinstance(fig, matplotlib.figure.Figure) and fig is not mine, name
        assert plt.get_fignums() == [mine.number] and plt.gcf() is mine, name
        fig.savefig(f := io.BytesIO(), format='png')
        assert f.tell() > 2000, name
    plt.close(mine)
