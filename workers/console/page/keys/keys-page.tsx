/** API keys: made, limited, rotated and revoked here, with the words of `headrace keys`. */
import { useContext, useEffect, useState } from "preact/hooks";
import { aboutSchema, keysSchema, type ListedKey } from "../../../../shared/console/answers.ts";
import { AccessContext, useAnswer } from "../answer.ts";
import { ask, failureText } from "../ask.ts";
import { plural } from "../format.ts";
import { NoticeList, useNotices } from "../notices.tsx";
import { Top } from "../top.tsx";
import { KeyDialogs, type KeyTask } from "./key-dialogs.tsx";
import { KeyRow } from "./key-row.tsx";

const everyMs = 30_000;
const kvLateMs = 70_000;

export function KeysPage() {
  const about = useAnswer("/api/about", aboutSchema);
  const { notices, reportFindings, dismiss } = useNotices();
  const list = useKeyList((text) => reportFindings(text, true));
  const [task, setTask] = useState<KeyTask | null>(null);
  const [sought, setSought] = useState("");
  useEffect(() => {
    document.title = "Keys · Headrace";
  }, []);
  const shown = keysWith(list.known, sought);

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
            A change holds everywhere within two minutes: the Workers remember keys for up to one, and KV is
            read as late.
          </p>
          {list.failure !== "" && <p class="stale">Not up to date. {list.failure}</p>}
          {!list.isRead && list.failure === "" && <p class="empty">Reading …</p>}
          {list.isRead && shown.length === 0 && (
            <p class="empty">
              {sought.trim() === "" ? "There is no key yet: nobody can send." : "No key matches."}
            </p>
          )}
          {shown.length > 0 && (
            <ul class="rows">
              {shown.map((key) => (
                <KeyRow key={key.id} apiKey={key} showsTenant={true} onTask={setTask} />
              ))}
            </ul>
          )}
          {list.hasMore && (
            <button type="button" onClick={list.askOn}>
              Show more than {plural(list.known.length, "key")}
            </button>
          )}
        </section>
      </main>
      <KeyDialogs
        task={task}
        otlp={about.value?.otlp ?? ""}
        onClose={() => setTask(null)}
        onChanged={(key, text) => {
          list.change(key);
          reportFindings(text);
        }}
      />
    </>
  );
}

interface KeyList {
  /** Of all pages so far, with what was changed here lately. */
  readonly known: readonly ListedKey[];
  /** Why the first page could not be read anew; empty: it could. */
  readonly failure: string;
  readonly isRead: boolean;
  readonly hasMore: boolean;
  readonly askOn: () => Promise<void>;
  /** A key was made or changed: this is what it is now. */
  readonly change: (key: ListedKey) => void;
}

function useKeyList(onFailure: (text: string) => void): KeyList {
  const { token } = useContext(AccessContext);
  const first = useAnswer("/api/keys", keysSchema, everyMs);
  const [more, setMore] = useState<readonly ListedKey[]>([]);
  const [cursor, setCursor] = useState<string>();
  /** KV is read up to a minute late: so long is shown what the change itself answered. */
  const [changed, setChanged] = useState<readonly { readonly key: ListedKey; readonly at: number }[]>([]);
  const next = more.length === 0 ? first.value?.cursor : cursor;
  const askOn = async (): Promise<void> => {
    try {
      const page = await ask(token, `/api/keys?cursor=${encodeURIComponent(next ?? "")}`, keysSchema);
      setMore([...more, ...page.keys]);
      setCursor(page.cursor);
    } catch (error) {
      onFailure(failureText(error));
    }
  };
  const fresh = changed.filter(({ at }) => Date.now() - at < kvLateMs).map(({ key }) => key);
  const byId = new Map([...(first.value?.keys ?? []), ...more, ...fresh].map((key) => [key.id, key]));
  return {
    known: [...byId.values()],
    failure: first.failure,
    isRead: first.value !== undefined,
    hasMore: next !== undefined,
    askOn,
    change: (key) => {
      setChanged([...changed, { key, at: Date.now() }]);
      first.again();
    },
  };
}

/** Those whose tenant, name or id has the text, by tenant and name. */
function keysWith(keys: readonly ListedKey[], sought: string): readonly ListedKey[] {
  const wanted = sought.trim().toLowerCase();
  return keys
    .filter(({ id, tenant, name }) => [id, tenant, name].some((text) => text.toLowerCase().includes(wanted)))
    .sort((a, b) => a.tenant.localeCompare(b.tenant) || a.name.localeCompare(b.name));
}
