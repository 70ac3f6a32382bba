/** What a question about a trace has where it is for one tenant's spans alone; empty or null: for all. */
export function ofTenant(tenant: string | null): string {
  return tenant === null || tenant === "" ? "" : `&tenant=${encodeURIComponent(tenant)}`;
}
