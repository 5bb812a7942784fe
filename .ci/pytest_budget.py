"A pytest plugin: once a budget of computing time is spent, it skips all other tests and prints their number"
import os, pytest

BUDGET = 40 # CPU seconds of this process and its children, so a busy machine skips no more tests than an idle one
left = []

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if sum(os.times()[:4])>BUDGET:
        left.append(item)
        pytest.skip('the time budget of a quick check is spent')

def pytest_terminal_summary(terminalreporter):
    if not left: return
    files = ' '.join(dict.fromkeys(o.nodeid.partition('::')[0] for o in left))
    terminalreporter.write_line(f'A quick check has {BUDGET} s for tests, and {len(left)} were skipped; run them with: .venv/bin/pytest {files}')
