"""A local page that needs no programming: from photos or a table to what a network looks at.

FastAPI serves it, with a small front end of plain JavaScript modules. The page needs uploads that
are limited while they stream in, jobs that outlive a closed tab and a restart, files that belong to
one user each, and a rule that nothing is loaded from other hosts; kits that make a page of a
function (Gradio, Streamlit) tie the work to the open tab, serve files by their path, and load
fonts and scripts from elsewhere.
"""
