#!/usr/bin/env python3
"""run-statements.py STATEMENTS FOLDER PACKAGE==VERSION...

Runs the project's schema, and what its INSERT, VERIFY and erasure send, on older and newer ClickHouse engines: the PyPI
packages chdb and chdb-core carry one each. Called by main.ts.

With --state behind the script's name it runs what the table check asks, and nothing else, and prints the answer's row as the last
line, as JSON: for versions that are refused.

STATEMENTS is the JSON of statements.ts. FOLDER gets a virtual environment for each package, and keeps it for the next
run. Prints one line a check, "ok" or "WRONG" with what was seen. Exits 1 when anything was wrong, or a version did not
end within its three minutes.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import venv

LIMIT_SECONDS = 180


def main(statements, folder, packages, mode="--engine"):
    folder = os.path.abspath(folder)
    statements = os.path.abspath(statements)
    # pandas and pyarrow, which chdb imports, are the same for all versions: installed once, found by a .pth file.
    common = environment(folder, "common", ["pandas", "pyarrow"], None)
    wrong = []
    for package in packages:
        python = environment(folder, package.replace("==", "-"), ["--no-deps", package], common)
        if python is None:
            wrong.append(package)
            continue
        data = os.path.join(folder, "data-" + package.replace("==", "-"))
        shutil.rmtree(data, ignore_errors=True)
        try:
            code = subprocess.run([python, os.path.abspath(__file__), mode, statements, data, package], timeout=LIMIT_SECONDS).returncode
        except subprocess.TimeoutExpired:
            print(f"  WRONG: {package} did not end within {LIMIT_SECONDS} s", flush=True)
            code = 1
        shutil.rmtree(data, ignore_errors=True)
        if code != 0:
            wrong.append(package)
    if mode == "--engine":
        print("all as expected" if not wrong else f"wrong: {', '.join(wrong)}")
    sys.exit(1 if wrong else 0)


def environment(folder, name, requirements, common):
    """The Python of the environment `name`, which it makes where it is missing; None when pip fails."""
    path = os.path.join(folder, name)
    python = os.path.join(path, "bin", "python")
    whole = os.path.join(path, "whole")
    if not os.path.exists(whole):
        shutil.rmtree(path, ignore_errors=True)
        venv.create(path, with_pip=True)
        if common is not None:
            with open(os.path.join(site_packages(python), "common.pth"), "w") as file:
                file.write(site_packages(common) + "\n")
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements]).returncode != 0:
            print(f"===== {name}: cannot be installed", flush=True)
            return None
        open(whole, "w").close()
    return python


def site_packages(python):
    answer = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], stdout=subprocess.PIPE, check=True)
    return answer.stdout.decode().strip()


class Engine:
    """One embedded engine in this process; counts what was wrong."""

    def __init__(self, data):
        from chdb import session
        self.database = session.Session(data)
        self.wrong = 0

    def query(self, sql):
        answer = self.database.query(sql, "TSV")
        if answer is not None and hasattr(answer, "has_error") and answer.has_error():
            raise RuntimeError(answer.error_message())
        return "" if answer is None else answer.bytes().decode().strip()

    def ask(self, sql):
        """The answer on one line, or the exception's first words behind "error"."""
        try:
            return self.query(sql).replace("\n", " | ")[:300]
        except Exception as error:  # chdb raises types of its own, and other ones in other versions
            return "error " + re.sub(r"\s+", " ", str(error))[:260]

    def show(self, name, answer):
        print(f"  {name}: {answer}", flush=True)

    def expect(self, name, sql, wanted=None):
        """`wanted` None: any answer but an error."""
        answer = self.ask(sql)
        if not answer.startswith("error ") if wanted is None else answer == wanted:
            self.show("ok", name)
        else:
            self.wrong += 1
            self.show("WRONG", f"{name}: {answer}" + ("" if wanted is None or answer.startswith("error ") else f", expected {wanted}"))


def run_engine(statements, data, package):
    with open(statements) as file:
        made = json.load(file)
    engine = Engine(data)
    print(f"===== {package}: ClickHouse {engine.query('SELECT version()')}", flush=True)
    engine.query("CREATE DATABASE hr ENGINE = Atomic")
    for name, sql in made["schema"]:
        # The embedded engines before 26.7 hang in DROP TABLE … SYNC: that is theirs, a server does not.
        engine.expect(f"{name}: {' '.join(sql.split())[:60].strip()}", re.sub(r" SYNC$", "", sql.rstrip()))

    known = set(engine.query("SELECT name FROM system.settings").split())
    unknown = [name for name in made["insert"] if name not in known]
    engine.show("ok" if not unknown else "WRONG", f"settings of the INSERT that are unknown: {unknown}")
    engine.wrong += len(unknown)
    engine.show("defaults", engine.ask("""SELECT arrayStringConcat(groupArray(concat(name, ' = ', value)), ', ') FROM (
        SELECT name, value FROM system.settings WHERE name IN ('async_insert', 'deduplicate_insert', 'deduplicate_blocks_in_dependent_materialized_views')
        UNION ALL SELECT name, value FROM system.merge_tree_settings WHERE name IN ('non_replicated_deduplication_window',
        'replicated_deduplication_window', 'replicated_deduplication_window_seconds', 'lightweight_mutation_projection_mode') ORDER BY name)"""))

    settings = ", ".join(f"{name} = {value}" for name, value in made["insert"].items() if name in known and name != "async_insert")
    day, payload = made["day"], made["payloadHex"]

    def insert(name, token, payload, days, async_insert=0):
        """Two rows on the first day, or one row on each of several days."""
        step, rows = (86400, days) if days > 1 else (0, 2)
        engine.expect(name, f"""INSERT INTO hr.otel_traces (Timestamp, TraceId, SpanId, HeadraceTenant, HeadracePayload)
            SETTINGS {settings}, async_insert = {async_insert}, insert_deduplication_token = '{token}'
            SELECT toDateTime64({day * 86400 + 43200}, 9) + number * {step}, 'trace', toString(number), 'acme', unhex('{payload}') FROM numbers({rows})""")

    insert("INSERT under a token", "a" * 32, payload, 1)
    insert("its retry", "a" * 32, payload, 1)
    engine.expect("rows after the retry: 2", "SELECT count() FROM hr.otel_traces", "2")
    engine.expect("rows of the view's target: 1", "SELECT count() FROM hr.otel_traces_trace_id_ts", "1")
    insert("INSERT of three days under the same token", "a" * 32, payload, 3)
    engine.expect("rows of each day by the projection, the first day's as before", made["queries"]["count"] + " SETTINGS force_optimize_projection = 1",
                  " | ".join(f"{payload}\t{day + k}\t{rows}" for k, rows in enumerate((2, 1, 1))))
    insert("INSERT with async_insert = 1 under a token", "b" * 32, "02" * 16, 1, 1)
    insert("its retry", "b" * 32, "02" * 16, 1, 1)
    engine.expect("its rows: 2", f"SELECT count() FROM hr.otel_traces WHERE HeadracePayload = unhex('{'02' * 16}')", "2")
    fence = made["fence"]
    engine.expect("the fence's column", fence["add"])
    engine.expect("the same, changed", fence["change"])
    printed = re.sub(r"[\s()]", "", engine.query(fence["read"]).replace("\\'", "'"))
    engine.wrong += printed != fence["bare"]
    engine.show("ok" if printed == fence["bare"] else "WRONG", "the fence is printed as it is compared" + ("" if printed == fence["bare"] else f": {printed}"))

    def fenced(comment):
        return engine.ask(f"INSERT INTO hr.otel_traces (SpanName, HeadraceFence) SETTINGS log_comment = '{comment}', async_insert = 0 FORMAT JSONEachRow {{\"SpanName\": \"fenced\"}}")

    for name, comment, code in (("late", fence["late"], "Code: 395"), ("for another table", fence["elsewhere"], "Code: 395"), ("in time", fence["comment"], "")):
        answer = fenced(comment)
        is_well = code in answer if code else not answer.startswith("error ")
        engine.wrong += not is_well
        engine.show("ok" if is_well else "WRONG", f"INSERT by the column, {name}: {answer[:80]}")
    engine.expect("its rows: 1", "SELECT count() FROM hr.otel_traces WHERE SpanName = 'fenced'", "1")
    engine.expect("they go", "ALTER TABLE hr.otel_traces DELETE WHERE SpanName = 'fenced' SETTINGS mutations_sync = 1")
    for receipt in made["receipts"]:
        engine.expect("INSERT of a receipt", f"INSERT INTO hr.headrace_receipts ({', '.join(receipt)}) FORMAT JSONEachRow {json.dumps(receipt)}")
    engine.expect("what the payload's receipts claim: 2", f"SELECT count() FROM ({made['queries']['receiptClaims']})", "2")
    engine.expect("receipts of the payload: 2", f"SELECT count() FROM ({made['queries']['receipts']})", "2")
    for name in ("state", "counted", "witness", "replicaWitness", "running", "kill", "complete", "eraseTimes"):
        engine.expect(name, made["queries"][name])
    engine.expect("spans of the trace: 6", f"SELECT count() FROM ({made['queries']['trace']})", "6")
    engine.expect("erase", made["queries"]["erase"])
    engine.expect("mutations: 1, none undone", f"SELECT known, undone FROM ({made['queries']['mutations']})", "1\t0")
    engine.expect("left in the parts: 0", made["queries"]["left"], "0\t0")
    engine.expect("rows after the erasure: 2, of the other payload", "SELECT count() FROM hr.otel_traces", "2")
    sys.stdout.flush()
    os._exit(1 if engine.wrong else 0)  # some engines hang when they are closed


def run_state(statements, data, _package):
    with open(statements) as file:
        made = json.load(file)
    engine = Engine(data)
    engine.query("CREATE DATABASE hr ENGINE = Atomic")
    engine.query("CREATE TABLE hr.otel_traces (Timestamp DateTime64(9)) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY Timestamp")
    print(engine.database.query(made["queries"]["state"], "JSONEachRow").bytes().decode().strip(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--engine":
        run_engine(*sys.argv[2:])
    if len(sys.argv) == 5 and sys.argv[1] == "--engine-state":
        run_state(*sys.argv[2:])
    if len(sys.argv) > 4 and sys.argv[1] == "--state":
        main(sys.argv[2], sys.argv[3], sys.argv[4:], "--engine-state")
    if len(sys.argv) < 4:
        sys.exit("usage: run-statements.py STATEMENTS FOLDER PACKAGE==VERSION...")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
