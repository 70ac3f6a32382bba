/** A count with its noun, for people: `1 payload`, `3 payloads`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
