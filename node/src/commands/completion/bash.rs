//! For bash.

use std::fmt::Write as _;

use super::{Registry, places, quoted};

/// The completion script for a program of this name.
pub(crate) fn script(program: &str, registry: &Registry) -> String {
    let mut arms = String::new();
    let mut valued = String::new();
    let mut global = String::new();
    for place in places(registry) {
        let subcommands: Vec<&str> = place.subcommands.iter().map(|(name, _)| *name).collect();
        let flags: Vec<String> = place.flags.iter().map(super::Flag::dashed).collect();
        let with_value: Vec<String> =
            place.flags.iter().filter(|flag| flag.takes_value).map(super::Flag::dashed).collect();
        if place.path.is_empty() {
            global = flags.join(" ");
        }
        let _ = writeln!(
            arms,
            "    {}) subs={} flags={} files={} ;;",
            quoted(&place.path),
            quoted(&subcommands.join(" ")),
            quoted(&flags.join(" ")),
            u8::from(place.files)
        );
        if !with_value.is_empty() {
            let _ =
                writeln!(valued, "    {}) valued={} ;;", quoted(&place.path), quoted(&with_value.join(" ")));
        }
    }
    format!(
        r#"# Completions of {program} for bash.
_{program}_place() {{
  subs='' flags='' files=0
  case "$1" in
{arms}  esac
}}
_{program}_valued() {{
  valued=''
  case "$1" in
{valued}  esac
}}
_{program}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path='' subs flags files valued skip=0 word all i
  local global={global}
  COMPREPLY=()
  _{program}_valued ''
  all=" $valued "
  _{program}_place ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${{COMP_WORDS[i]}}"
    if ((skip)); then skip=0; continue; fi
    case "$word" in
      -*) [[ "$all" == *" $word "* ]] && skip=1 ;;
      *)
        if [[ " $subs " == *" $word "* ]]; then
          path="${{path:+$path }}$word"
          _{program}_valued "$path"
          all="$all $valued "
          _{program}_place "$path"
        fi
        ;;
    esac
  done
  if ((skip)); then
    COMPREPLY=($(compgen -f -- "$current"))
    return
  fi
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags $global" -- "$current")) ;;
    *)
      COMPREPLY=($(compgen -W "$subs" -- "$current"))
      if ((files)); then COMPREPLY+=($(compgen -f -- "$current")); fi
      ;;
  esac
}}
complete -o filenames -F _{program} {program}
"#,
        global = quoted(&global),
    )
}
