/** API keys: made, limited, rotated and revoked here, with the words of `headrace keys`. */
import { useContext, useEffect, useState } from "preact/hooks";
import { aboutSchema, keysSchema, type ListedKey } from "../../../../shared/console/answers.ts";
import { ask, failureText } from "../ask.ts";
import { plural } from "../format.ts";
import { NoticeList, useNotices } from "../notices.tsx";
import { AccessContext, usePolled } from "../polling.ts";
import { Top } from "../top.tsx";
import { useAnswer } from "../traces/answer.ts";
import { KeyDialogs, type KeyTask } from "./key-dialogs.tsx";
import { KeyRow } from "./key-row.tsx";

const everyMs = 30_000;
const kvLateMs = 70_000;

export function KeysPage() {
  const { token } = useContext(AccessContext);
  const keys = usePolled("/api/keys", keysSchema, everyMs);
  const about = useAnswer("/api/about", aboutSchema);
  const { notices, reportFindings, dismiss } = useNotices();
  const [more, setMore] = useState<readonly ListedKey[]>([]);
  const [cursor, setCursor] = useState<string>();
  const [task, setTask] = useState<KeyTask | null>(null);
  const [sought, setSought] = useState("");
  useEffect(() => {
    document.title = "Keys · Headrace";
  }, []);
  /** KV is read up to a minute late: so long is shown what the change itself answered. */
  const [changed, setChanged] = useState<readonly { readonly key: ListedKey; readonly at: number }[]>([]);

  const next = more.length === 0 ? keys.value?.cursor : cursor;
  const askOn = async (): Promise<void> => {
    try {
      const page = await ask(token, `/api/keys?cursor=${encodeURIComponent(next ?? "")}`, keysSchema);
      setMore([...more, ...page.keys]);
      setCursor(page.cursor);
    } catch (error) {
      reportFindings(failureText(error), true);
    }
  };
  const fresh = changed.filter(({ at }) => Date.now() - at < kvLateMs).map(({ key }) => key);
  const known = new Map([...(keys.value?.keys ?? []), ...more, ...fresh].map((key) => [key.id, key]));
  const wanted = sought.trim().toLowerCase();
  const shown = [...known.values()]
    .filter(({ id, tenant, name }) => [id, tenant, name].some((text) => text.toLowerCase().includes(wanted)))
    .sort((a, b) => a.tenant.localeCompare(b.tenant) || a.name.localeCompare(b.name));

  return (
    <>
      <Top page="keys" />
      <main class="keys">
        <NoticeList notices={notices} onDismiss={dismiss} />
        <section class="panel" aria-labelledby="keys-title">
          <header>
            <h1 id="keys-title">API keys</h1>
            <div class="actions">
              <input
                type="search"
                aria-label="Search by tenant, name or id"
                placeholder="Tenant, name or id"
                value={sought}
                onInput={(event) => setSought(event.currentTarget.value)}
              />
              <button type="button" class="main" onClick={() => setTask({ kind: "create" })}>
                New key
              </button>
            </div>
          </header>
          <p class="note">
            A change holds everywhere within a minute: the Workers read keys from KV, which is read that late.
          </p>
          {keys.failure !== "" && <p class="stale">Not up to date. {keys.failure}</p>}
          {keys.value === undefined && keys.failure === "" && <p class="empty">Reading …</p>}
          {keys.value !== undefined && shown.length === 0 && (
            <p class="empty">{wanted === "" ? "There is no key yet: nobody can send." : "No key matches."}</p>
          )}
          {shown.length > 0 && (
            <ul class="rows">
              {shown.map((key) => (
                <KeyRow key={key.id} apiKey={key} showsTenant={true} onTask={setTask} />
              ))}
            </ul>
          )}
          {next !== undefined && (
            <button type="button" onClick={askOn}>
              Show more than {plural(known.size, "key")}
            </button>
          )}
        </section>
      </main>
      <KeyDialogs
        task={task}
        otlp={about.value?.otlp ?? ""}
        onClose={() => setTask(null)}
        onChanged={(key, text) => {
          setChanged([...changed, { key, at: Date.now() }]);
          reportFindings(text);
          keys.again();
        }}
      />
    </>
  );
}
