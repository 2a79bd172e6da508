//! The files in `crds/` are what the code says.

use std::path::PathBuf;

#[test]
fn the_files_in_crds_are_what_the_code_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    for crd in penstock_api::crds() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let wanted = penstock_api::crd_yaml(&crd);
        if std::env::var_os("UPDATE_CRDS").is_some() {
            std::fs::create_dir_all(&folder).expect("crds/ can be made");
            std::fs::write(&path, &wanted).expect("the file can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{} is not what the code says: regenerate it with `cargo run -p penstock -- crds --dir crds`, or `UPDATE_CRDS=1 cargo test -p penstock-api --test crds`",
            path.display()
        );
    }
}
