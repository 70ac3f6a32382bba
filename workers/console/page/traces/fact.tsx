/** One pair of a list of pairs; nothing where the value is empty. */
export function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return value === "" ? null : (
    <div>
      <dt>
        <bdi>{name}</bdi>
      </dt>
      <dd>
        <bdi>{value}</bdi>
      </dd>
    </div>
  );
}
