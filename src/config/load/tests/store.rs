use super::*;

#[test]
fn store_on_a_temporary_disk_gets_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let folder = std::fs::canonicalize(folder.path()).unwrap();
    std::fs::create_dir_all(folder.join("there")).unwrap();
    let path = folder.join("config.yaml");
    let warned = |kind: &str, store: &str, action: &str| {
        let upstreams = "upstreams: { app: { url: 'http://127.0.0.1:1' } }";
        let route = format!(
            "{{ name: a, path: /a, verify: {{ provider: github, secrets: [{{ env: A }}] }}, dedupe: {{}}, {action} }}"
        );
        let text = format!(
            "listen: [{{ address: '127.0.0.1:0' }}]\nstore: {{ path: {store} }}\n{upstreams}\nroutes: [{route}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let info = format!(
            "1 0 8:0 /{} {} rw - {kind} x rw",
            if kind == "ext3" {
                "x/kubernetes.io~empty-dir/y"
            } else {
                ""
            },
            folder.display()
        );
        let mounts = mount::parse(info.as_bytes());
        let loaded = load_on(&mounts, &path, None, 0).unwrap();
        loaded
            .report
            .findings
            .iter()
            .map(|finding| finding.message.clone())
            .collect::<String>()
    };
    let queue = "queue: { upstream: app }";
    assert!(warned("tmpfs", "there", queue).contains("in memory (tmpfs)"));
    assert!(
        warned(
            "tmpfs",
            "not/yet",
            "forward: { upstream: app, record: all }"
        )
        .contains("in memory (tmpfs)")
    );
    assert!(
        warned(
            "ext3",
            "there",
            "forward: { upstream: app, on_failure: queue }"
        )
        .contains("an emptyDir")
    );
    assert!(warned("overlay", "there", queue).contains("the container's own layer"));
    assert!(warned("nfs4", "there", queue).contains("network disk (nfs4)"));
    for (kind, store, action) in [
        ("overlay", "not/yet", queue),
        ("ext4", "there", queue),
        ("tmpfs", "there", "forward: { upstream: app }"),
    ] {
        assert_eq!(warned(kind, store, action), "", "{kind} {store} {action}");
    }
}
