//! Lets libraries that look symbols up by name at run time find the program's own `getrandom`.

fn main() {
    println!("cargo:rustc-link-arg-bin=sim=-rdynamic");
    println!("cargo:rerun-if-changed=build.rs");
}
