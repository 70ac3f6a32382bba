/** A span's name as people read it: an empty one says so. */
export function spanName(name: string): string {
  return name === "" ? "(no name)" : name;
}
