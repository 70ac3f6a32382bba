/** A payload's key, short enough to read and whole on hover, and a way to look into it. */
import { keyParts, shortId } from "./format.ts";

interface PayloadKeyProps {
  readonly payloadKey: string;
  readonly onOpen: (key: string) => void;
}

export function PayloadKey({ payloadKey, onOpen }: PayloadKeyProps) {
  const { minute, id } = keyParts(payloadKey);
  return (
    <button type="button" class="key link" title={payloadKey} onClick={() => onOpen(payloadKey)}>
      {minute.slice(5).replace("T", " ")} <b>{shortId(id)}</b>
      <span class="hidden">, look into the payload</span>
    </button>
  );
}
